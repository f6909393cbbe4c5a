//! What Cython makes of the names of functions (`Compiler/Naming.py` and
//! `Compiler/Symtab.py`, 0.29 to 3.3).

/// A function as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// `module.Class.function`.
    pub(super) name: String,
    /// It unpacks the arguments that Python gives it for the function of the
    /// same name that it calls.
    pub(super) wraps: bool,
}

/// What stands before the parts, and whether such a function only wraps. The
/// body of a `def` in turn wraps that of a `cpdef`.
const PREFIXES: [(&str, bool); 4] = [
    ("__pyx_pw_", true),
    ("__pyx_pf_", true),
    ("__pyx_f_", false),
    ("__pyx_gb_", false),
];

/// The function that runs a module's own statements.
const MODULE: &str = "__pyx_pymod_exec_";

/// The longest name that is looked at, and the parts of one.
const MAX_LEN: usize = 4096;
const MAX_PARTS: usize = 64;

/// The function that a symbol is of; `None` if Cython made no such name.
///
/// Each scope is its name's length, its name, and an underscore; the function
/// itself has a number before it that tells it from others, or none. So where
/// the number of `4func_x` happens to be the length of what follows up to an
/// underscore it reads like a scope.
pub(super) fn demangle(symbol: &str) -> Option<Function> {
    if symbol.len() > MAX_LEN || !symbol.starts_with("__pyx_") {
        return None;
    }
    if let Some(module) = symbol.strip_prefix(MODULE).filter(|m| is_name(m)) {
        let name = format!("{module}.<module>");
        return Some(Function { name, wraps: false });
    }
    let symbol = without_fused(symbol);
    let mut prefixes = PREFIXES.iter();
    let (mut rest, wraps) =
        prefixes.find_map(|(prefix, wraps)| Some((symbol.strip_prefix(prefix)?, *wraps)))?;
    let mut parts = Vec::new();
    while let Some((part, after)) = scope(rest) {
        parts.push(part);
        rest = after;
        if parts.len() > MAX_PARTS {
            return None;
        }
    }
    let function = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if parts.is_empty() || !is_name(function) {
        return None;
    }
    parts.push(function);
    let name = parts.join(".");
    Some(Function { name, wraps })
}

/// The name of the first scope, and what follows it.
fn scope(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (len, rest) = text.split_at_checked(digits)?;
    let len: usize = len.parse().ok().filter(|len| *len > 0)?;
    let (name, rest) = rest.split_at_checked(len)?;
    let rest = rest.strip_prefix('_').filter(|rest| !rest.is_empty())?;
    // `1__get__` is the first of that name.
    let is_scope = is_name(name) && name.contains(|c| c != '_');
    is_scope.then_some((name, rest))
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let begins = chars.next().is_some_and(|c| c == '_' || c.is_alphabetic());
    begins && chars.all(|c| c == '_' || c.is_alphanumeric())
}

/// Each combination of fused types has a function of its own, with a number
/// for each type before its name.
fn without_fused(symbol: &str) -> &str {
    let fused = || {
        let rest = symbol.strip_prefix("__pyx_fuse_")?;
        let (numbers, after) = rest.split_at_checked(rest.find("__pyx_")?)?;
        let is_number = |c: char| c == '_' || c.is_ascii_digit();
        numbers.chars().all(is_number).then_some(after)
    };
    fused().unwrap_or(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are read as Cython 3.3 wrote them, and what is no function of the program is left alone.
    #[test]
    fn names() {
        for (symbol, name, wraps) in [
            ("__pyx_pw_1m_1work", "m.work", true),
            ("__pyx_pf_1m_work", "m.work", true),
            ("__pyx_pw_1m_5Shape_3area", "m.Shape.area", true),
            ("__pyx_pf_1m_5Shape___init__", "m.Shape.__init__", true),
            ("__pyx_pw_1m_5Shape_1n_1__get__", "m.Shape.n.__get__", true),
            ("__pyx_f_1m_helper", "m.helper", false),
            ("__pyx_gb_1m_6generator", "m.generator", false),
            (
                "__pyx_pw_5numpy_6random_6mtrand_11RandomState_21random_sample",
                "numpy.random.mtrand.RandomState.random_sample",
                true,
            ),
            ("__pyx_fuse_0__pyx_f_1m_total", "m.total", false),
            ("__pyx_fuse_1_0__pyx_pw_1m_3total", "m.total", true),
            ("__pyx_pymod_exec_m", "m.<module>", false),
        ] {
            let name = name.to_owned();
            assert_eq!(demangle(symbol), Some(Function { name, wraps }), "{symbol}");
        }
        for other in [
            "",
            "work",
            "__pyx_f_",
            "__pyx_f_1m_",
            "__pyx_f_work",
            "__pyx_f_0_x",
            "__pyx_f_99999999999999999999m_x",
            "__pyx_f_9é_x",
            "__pyx_f_1é_x",
            "__pyx_fuse_",
            "__pyx_fuse_0",
            "__pyx_pymod_exec_",
            "__pyx_tp_new_1m_Shape",
            "__Pyx_PyObject_Call",
        ] {
            assert_eq!(demangle(other), None, "{other}");
        }
    }
}
