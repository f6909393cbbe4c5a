use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use firefinch_cpython::FindError;
use firefinch_process::{AccessError, Cause, ContainerId, OpenError, Pid, Process, list};
use firefinch_sampler::{AttachError, Stacks, Target};

use crate::failure::{Failure, print, printable, refusal, remedy};
use crate::program;

/// One Python process.
#[derive(Debug)]
struct Row {
    pid: Pid,
    user: String,
    version: String,
    container: Option<ContainerId>,
    command: String,
}

/// Processes that are not in the list though they may be Python.
#[derive(Debug, Default)]
struct Unseen {
    /// Not permitted, one entry for each kind of reason.
    refused: Vec<Refused>,
    /// An interpreter that cannot be profiled, and why.
    unusable: Vec<String>,
}

/// Processes that may not be looked at for the same kind of reason.
#[derive(Debug)]
struct Refused {
    count: usize,
    kind: Option<Discriminant<Cause>>,
    /// Of the first of them.
    evidence: String,
    next: String,
}

/// Lists the Python processes that can be profiled.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let pids = list().map_err(|error| {
        Failure::new(
            "cannot list processes",
            error,
            "mount /proc, or run where it is",
        )
    })?;
    let own = std::process::id();
    let mut unseen = Unseen::default();
    let rows: Vec<Row> = pids
        .into_iter()
        .filter(|pid| pid.get().unsigned_abs() != own)
        .filter_map(|pid| look(pid, &mut unseen))
        .collect();
    if rows.is_empty() {
        eprintln!("firefinch: no Python process that can be profiled");
    }
    print(&table(&rows))?;
    unseen.report();
    Ok(ExitCode::SUCCESS)
}

/// The process's row, if it is Python and can be profiled.
fn look(pid: Pid, unseen: &mut Unseen) -> Option<Row> {
    let process = Process::open(pid).map_err(AttachError::from);
    let target = process
        .and_then(|process| Target::attach(&Arc::new(process), Stacks::Python, Duration::ZERO));
    match target {
        Ok(target) => {
            let version = target.runtime()?.version;
            Some(row(target.process(), version.to_string()))
        }
        Err(error) => {
            unseen.count(pid, &error);
            None
        }
    }
}

fn row(process: &Process, version: String) -> Row {
    let user = process.owner().map_or_else(
        |_| "?".to_owned(),
        |owner| owner.uid.name().unwrap_or_else(|| owner.uid.to_string()),
    );
    Row {
        pid: process.pid(),
        user,
        version,
        container: process.container_id().ok().flatten(),
        command: command(process),
    }
}

/// The program's name and its arguments, which ps(1) shows to everybody too.
fn command(process: &Process) -> String {
    let arguments = process.command_line().unwrap_or_default();
    describe(&program::name(process), &arguments)
}

fn describe(name: &str, arguments: &[Vec<u8>]) -> String {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    match arguments {
        [] => name.to_owned(),
        // A title that the program gave itself (setproctitle) overwrites all.
        [title] if title.contains(&b' ') => format!("{name}: {}", text(title)),
        [_, rest @ ..] => {
            let mut words = vec![name.to_owned()];
            words.extend(rest.iter().map(text));
            words.join(" ")
        }
    }
}

impl Unseen {
    fn count(&mut self, pid: Pid, error: &AttachError) {
        match error {
            AttachError::NoInterpreter {
                error: FindError::NotPython,
                ..
            } => {}
            AttachError::NoInterpreter { error, exe, .. } => {
                let name = exe
                    .as_deref()
                    .and_then(|exe| Path::new(exe).file_name())
                    .unwrap_or_default();
                let name = name.to_string_lossy();
                self.unusable
                    .push(format!("process {pid} ({name}) is left out: {error}"));
            }
            AttachError::Layout(missing) => self
                .unusable
                .push(format!("process {pid} is left out: {missing}")),
            AttachError::Access(access) if access.errno.is_denied() => self.refuse(access),
            AttachError::Open(open) if is_denied(open) => {
                self.add(None, open.to_string(), "run firefinch as root".to_owned());
            }
            // Gone, dead, or of the kernel: nothing to profile.
            _ => {}
        }
    }

    fn refuse(&mut self, access: &AccessError) {
        // `None`: it is permitted by now, so the process was just changing.
        let Some(diagnosis) = access.diagnose() else {
            return;
        };
        let kind = diagnosis.cause.as_ref().map(discriminant);
        self.add(kind, refusal(access, &diagnosis), remedy(&diagnosis));
    }

    fn add(&mut self, kind: Option<Discriminant<Cause>>, evidence: String, next: String) {
        let known = self.refused.iter_mut().find(|known| known.kind == kind);
        match known {
            Some(known) => known.count += 1,
            None => self.refused.push(Refused {
                count: 1,
                kind,
                evidence,
                next,
            }),
        }
    }

    fn report(&self) {
        for line in &self.unusable {
            eprintln!("firefinch: {}", printable(line));
        }
        for refused in &self.refused {
            let what = match refused.count {
                1 => "1 process could not be looked at".to_owned(),
                count => format!("{count} processes could not be looked at"),
            };
            // Said, and no failure: the others are listed.
            let _ = Failure::new(what, &refused.evidence, &refused.next).report();
        }
    }
}

fn is_denied(error: &OpenError) -> bool {
    match error {
        OpenError::Hidden(_) => true,
        OpenError::Io { errno, .. } => errno.is_denied(),
        _ => false,
    }
}

const HEAD: [&str; 5] = ["PID", "USER", "PYTHON", "CONTAINER", "COMMAND"];

/// The list with its columns aligned. A command is cut short: the file that
/// runs comes first in it, and the rest may be of any length.
fn table(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.pid.to_string(),
            printable(&row.user),
            row.version.clone(),
            row.container
                .as_ref()
                .map_or("-", ContainerId::short)
                .to_owned(),
            cut(&printable(&row.command)),
        ]
    });
    let lines: Vec<_> = std::iter::once(HEAD.map(str::to_owned))
        .chain(cells)
        .collect();
    let mut widths = [0; HEAD.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for [pid, user, version, container, command] in lines {
        let [pid_width, user_width, version_width, container_width, _] = widths;
        text.push_str(&format!(
            "{pid:>pid_width$}  {user:user_width$}  {version:version_width$}  \
             {container:container_width$}  {command}\n"
        ));
    }
    text
}

/// The most of a command that is shown, in characters.
const MAX_COMMAND: usize = 160;

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_COMMAND) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    /// The first word is the executable's name, whatever the process calls
    /// itself; a title of its own is shown behind it.
    #[test]
    fn commands() {
        let shown = |arguments: &[&str]| describe("python3.11", &words(arguments));
        assert_eq!(shown(&["/bin/sh", "app.py", "-v"]), "python3.11 app.py -v");
        assert_eq!(shown(&["python3"]), "python3.11");
        assert_eq!(shown(&[]), "python3.11");
        assert_eq!(shown(&["app: worker 3"]), "python3.11: app: worker 3");
    }

    /// Columns line up under their heads, and no line has control characters
    /// or goes on without end.
    #[test]
    fn tables() {
        let row = |pid, user: &str, command: &str| Row {
            pid: Pid::new(pid).unwrap(),
            user: user.to_owned(),
            version: "3.11.7".to_owned(),
            container: None,
            command: command.to_owned(),
        };
        let long = "x".repeat(10_000);
        let text = table(&[
            row(7, "root", "python \x1b[31mapp"),
            row(4_194_304, "www-data", &long),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "    PID  USER      PYTHON  CONTAINER  COMMAND");
        assert_eq!(
            lines[1],
            "      7  root      3.11.7  -          python \u{fffd}[31mapp"
        );
        let end = lines[2]
            .strip_prefix("4194304  www-data  3.11.7  -          ")
            .unwrap();
        assert_eq!(end, format!("{}…", "x".repeat(MAX_COMMAND)));
    }
}
