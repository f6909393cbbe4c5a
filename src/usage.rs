//! Wrong usage, said like every other failure.

use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::{Failure, USAGE};

/// The three lines for what was typed wrongly. `None` if help or the version
/// was asked for, which is no failure.
pub(crate) fn failure(error: &clap::Error, command: Option<&str>) -> Option<Failure> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return None;
    }
    let name = command.map_or("firefinch".to_owned(), |name| format!("firefinch {name}"));
    let subject = command.unwrap_or("the command line");
    let argument = text(error, ContextKind::InvalidArg);
    let (what, evidence, next) = match error.kind() {
        ErrorKind::MissingRequiredArgument => (
            format!("{subject} needs a process"),
            match command {
                Some("record" | "top") => "neither a PID nor -- COMMAND was given".to_owned(),
                _ => "no PID was given".to_owned(),
            },
            match command {
                Some("record" | "top") => {
                    format!("{name} PID, or {name} -- COMMAND; firefinch ps lists the processes")
                }
                _ => format!("{name} PID; firefinch ps lists the processes"),
            },
        ),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => (
            format!("{subject}: wrong value for {argument}"),
            said(error),
            example(&argument).map_or_else(|| help(&name), ToOwned::to_owned),
        ),
        ErrorKind::ArgumentConflict => (
            format!("{subject}: these exclude each other"),
            said(error),
            "leave one of them out".to_owned(),
        ),
        _ => (
            format!("{subject} is not understood"),
            said(error),
            help(&name),
        ),
    };
    Some(Failure::new(what, evidence, next).with_code(USAGE))
}

/// The subcommand among the arguments, as far as there is one.
pub(crate) fn subcommand<'a>(args: &[impl AsRef<OsStr>], names: &[&'a str]) -> Option<&'a str> {
    let mut args = args.iter().skip(1).map(AsRef::as_ref);
    let first = args.find(|arg| !arg.as_encoded_bytes().starts_with(b"-"))?;
    names.iter().copied().find(|name| first == OsStr::new(name))
}

fn help(name: &str) -> String {
    format!("{name} --help shows what there is")
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" and "),
        _ => "an argument".to_owned(),
    }
}

/// What to type instead, for the arguments that people get wrong.
fn example(argument: &str) -> Option<&'static str> {
    let option = argument.split([' ', '=']).next()?;
    Some(match option {
        "--rate" => "-r 100 for 100 samples a second",
        "--duration" => "-d 30 or -d 1m30s; without -d until Ctrl-C",
        "--format" => "-f flamegraph or -f raw",
        "--output" => "-o flame.svg, or -o - for standard output",
        "--pid" | "<PID>" | "[PID]" => "firefinch ps lists the processes with their PIDs",
        _ => return None,
    })
}

/// What clap says of it: its message up to the usage, in one line.
fn said(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let lines = rendered.lines().map(str::trim);
    let lines: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        // It advises to launch a command of that name.
        .filter(|line| !line.contains("use '-- "))
        .collect();
    let message = lines.join("; ");
    message
        .strip_prefix("error: ")
        .unwrap_or(&message)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn lines(args: &[&str]) -> Option<String> {
        let error = Args::try_parse_from(args).unwrap_err();
        let failure = failure(&error, subcommand(args, &["record", "top", "dump", "ps"]))?;
        Some(failure.to_string())
    }

    /// Each kind of mistake is three lines that name what was typed.
    #[test]
    fn three_lines() {
        for (args, word) in [
            (&["record"][..], "PID"),
            (&["top"], "firefinch top -- COMMAND"),
            (&["dump"], "firefinch dump PID"),
            (&["record", "-r", "0", "1"], "'0'"),
            (&["record", "-r", "-1", "1"], "'-1'"),
            (&["record", "-d", "-5", "1"], "'-5'"),
            (&["record", "-d", "-1m", "1"], "'-1m'"),
            (&["record", "-f", "jpeg", "1"], "-f raw"),
            (&["record", "-p", "-7"], "'-7'"),
            (&["record", "-7"], "'-7'"),
            (&["record", "-o"], "-o flame.svg"),
            (&["record", "-F", "--nolineno", "1"], "leave one"),
            (
                &["record", "--frob\nnicate", "1"],
                "firefinch record --help",
            ),
            (&["record", "1", "2"], "'2'"),
            (&["record", "1", "--", "true"], "leave one"),
            (&["frobnicate"], "frobnicate"),
        ] {
            let mut all = vec!["firefinch"];
            all.extend(args);
            let text = lines(&all).unwrap();
            assert_eq!(text.lines().count(), 3, "{args:?}: {text}");
            assert!(text.contains(word), "{args:?}: {text}");
        }
    }

    /// Help and the version are left to clap.
    #[test]
    fn no_failure() {
        for args in [
            &["firefinch"][..],
            &["firefinch", "--help"],
            &["firefinch", "-V"],
        ] {
            assert_eq!(lines(args), None);
        }
    }
}
