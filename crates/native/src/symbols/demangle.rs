use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions};

/// The longest name, mangled or not. Templates make some of a few thousand
/// bytes; a hostile one of a hundred could be gigabytes when written out.
const MAX_LEN: usize = 16 << 10;

/// How deep types may nest in a name.
const MAX_DEPTH: u32 = 128;

/// What compilers append to the name of a function that they split or copied.
/// For people it is the same function.
const CLONES: [&str; 7] = [
    ".cold",
    ".part.",
    ".isra.",
    ".constprop.",
    ".lto_priv.",
    ".llvm.",
    ".resolver",
];

/// The name that people know a function by: Rust's without its hash, C++'s
/// without types of parameters and results.
pub(super) fn demangle(name: &str) -> Cow<'_, str> {
    let name = without_version(without_clone(name));
    if name.len() > MAX_LEN {
        return Cow::Owned(name.chars().take(MAX_LEN / 4).collect());
    }
    // Both write "_ZN"; Rust's older names are C++'s with a hash at their end.
    if let Ok(rust) = rustc_demangle::try_demangle(name)
        && let Some(text) = bounded(|out| write!(out, "{rust:#}"))
    {
        return Cow::Owned(text);
    }
    if name.starts_with("_Z")
        && let Some(text) = cpp(name)
    {
        return Cow::Owned(text);
    }
    Cow::Borrowed(name)
}

fn cpp(name: &str) -> Option<String> {
    let parse = ParseOptions::default().recursion_limit(MAX_DEPTH);
    let symbol = cpp_demangle::Symbol::new_with_options(name, &parse).ok()?;
    let options = DemangleOptions::new()
        .no_params()
        .no_return_type()
        .recursion_limit(MAX_DEPTH);
    bounded(|out| symbol.structured_demangle(out, &options))
}

fn without_clone(name: &str) -> &str {
    let at = CLONES.iter().filter_map(|clone| name.find(clone)).min();
    match at {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

/// Symbol tables have versions after the name, as in `memcpy@@GLIBC_2.14`.
fn without_version(name: &str) -> &str {
    match name.find('@') {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

fn bounded(write: impl FnOnce(&mut Bounded) -> fmt::Result) -> Option<String> {
    let mut out = Bounded(String::new());
    write(&mut out).ok()?;
    Some(out.0)
}

/// Takes no more than the longest name.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_LEN {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of each language come out as people write them.
    #[test]
    fn languages() {
        for (mangled, name) in [
            ("PyObject_Call", "PyObject_Call"),
            ("_PyEval_EvalFrameDefault.cold", "_PyEval_EvalFrameDefault"),
            ("list_ass_slice.isra.0", "list_ass_slice"),
            ("memcpy@@GLIBC_2.14", "memcpy"),
            (".plt", ".plt"),
            (
                "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
                "core::fmt::Formatter::write_str",
            ),
            (
                "_RNvCskwGfYPst2Cb_3foo16example_function",
                "foo::example_function",
            ),
            ("_ZN3foo3barIiEEvT_", "foo::bar<int>"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backEOi",
                "std::vector<int, std::allocator<int> >::push_back",
            ),
            (
                "_ZTv0_n24_N3foo3barEv",
                "{virtual override thunk({offset(0), 24}, foo::bar)}",
            ),
            ("_Znonsense", "_Znonsense"),
        ] {
            let found = demangle(mangled);
            if mangled.starts_with("_ZTv") {
                assert!(found.contains("foo::bar"), "{found}");
            } else {
                assert_eq!(found, name);
            }
        }
    }

    /// A short name that stands for an enormous one, and an enormous one, stay within the bound.
    #[test]
    fn bounded_names() {
        // Each pair of parameters doubles what is written out.
        let mut bomb = "_Z1fI".to_owned();
        bomb.push_str("St4pairIiiE");
        for n in 0..30 {
            let _ = write!(bomb, "St4pairIS{n}_S{n}_E", n = ["", "0", "1", "2"][n % 4]);
        }
        bomb.push_str("Evv");
        assert!(demangle(&bomb).len() <= MAX_LEN);
        let long = "é".repeat(MAX_LEN);
        assert!(demangle(&long).len() <= MAX_LEN);
        let deep = format!("_Z1f{}i", "P".repeat(10_000));
        assert!(demangle(&deep).len() <= MAX_LEN);
        let rust = format!("_RNvC1a{}", "INvC1a1b".repeat(1000));
        assert!(demangle(&rust).len() <= MAX_LEN);
    }
}
