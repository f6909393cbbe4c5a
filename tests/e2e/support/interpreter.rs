use std::any::Any;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Names, separated by commas, of interpreters that must be there.
const REQUIRED: &str = "FIREFINCH_PYTHONS_REQUIRED";
/// Names, separated by commas, of the only interpreters to run: for people who
/// look for a fault. What is required must be among them.
const ONLY: &str = "FIREFINCH_PYTHONS_ONLY";

/// One interpreter, as `scripts/pythons list --json` describes it.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The arguments that start it, to which a program's path is appended.
    pub(crate) command: Vec<String>,
    /// The root that it sees; a program must lie below.
    pub(crate) root: PathBuf,
    /// Where its headers are, if they are there.
    include: Option<PathBuf>,
    /// `shared` with a libpython of its own, or `static`.
    pub(crate) linkage: String,
    pub(crate) free_threaded: bool,
}

impl Interpreter {
    /// Every interpreter there is; asked for once.
    pub(crate) fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Interpreter>> = OnceLock::new();
        ALL.get_or_init(|| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/pythons");
            let listed = Command::new(&script).args(["list", "--json"]).output();
            let listed = listed.expect("scripts/pythons starts");
            assert!(
                listed.status.success(),
                "scripts/pythons list: {}",
                String::from_utf8_lossy(&listed.stderr)
            );
            let all: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("its list is JSON");
            let only = names(ONLY);
            let wanted = |python: &Self| only.is_empty() || only.contains(&python.name);
            all.iter().map(Self::of).filter(wanted).collect()
        })
    }

    fn of(entry: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let command = entry["command"].as_array().expect("a list of arguments");
        Self {
            name: text(&entry["name"]),
            version: text(&entry["version"]),
            command: command.iter().map(text).collect(),
            root: text(&entry["root"]).into(),
            include: entry["include"].as_str().map(PathBuf::from),
            linkage: text(&entry["linkage"]),
            free_threaded: entry["free_threaded"].as_bool().expect("yes or no"),
        }
    }

    /// Major and minor version, `(3, 11)`.
    pub(crate) fn minor(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    }

    /// Its headers, to compile a module for it: what is compiled here runs there.
    pub(crate) fn include(&self) -> Option<&Path> {
        let include = self.include.as_deref();
        include.filter(|include| !self.is_elsewhere() && include.exists())
    }

    /// Whether it sees another root than we do.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.root != Path::new("/")
    }
}

fn names(variable: &str) -> BTreeSet<String> {
    let value = std::env::var(variable).unwrap_or_default();
    let names = value.split(',').map(str::trim).filter(|n| !n.is_empty());
    names.map(str::to_owned).collect()
}

/// Runs `check` on every interpreter; fails after all of them were tried, with
/// the names of those it failed on, and if a required one is not there.
pub(crate) fn for_every(topic: &str, check: impl Fn(&Interpreter)) {
    for_every_that(topic, |_| true, check);
}

/// The same for those interpreters that can have what the topic is about.
pub(crate) fn for_every_that(
    topic: &str,
    can: impl Fn(&Interpreter) -> bool,
    check: impl Fn(&Interpreter),
) {
    let there: BTreeSet<String> = Interpreter::all().iter().map(|p| p.name.clone()).collect();
    let mut failed: Vec<String> = names(REQUIRED)
        .difference(&there)
        .map(|name| format!("{name}: required and not there"))
        .collect();
    let mut covered = Vec::new();
    for python in Interpreter::all().iter().filter(|python| can(python)) {
        match catch_unwind(AssertUnwindSafe(|| check(python))) {
            Ok(()) => covered.push(python.name.as_str()),
            Err(panic) => failed.push(format!("{}: {}", python.name, words(&*panic))),
        }
    }
    say_covered(topic, &covered);
    assert!(failed.is_empty(), "{topic} fails on\n{}", failed.join("\n"));
    assert!(!covered.is_empty(), "{topic}: no interpreter to run on");
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").to_owned()
}

fn say_covered(topic: &str, covered: &[&str]) {
    say(&format!("covered: {topic} {}\n", covered.join(" ")));
}

/// Interpreters of every kind, for what depends on them little.
pub(crate) fn is_one_of_few(python: &Interpreter) -> bool {
    ["2.7", "3.8", "3.12", "3.15", "3.13t"].contains(&&*python.name)
}

/// Whether a topic cannot be had because it takes root; says so if it does, and fails
/// where nothing may be left out.
pub(crate) fn is_left_out_without_root(topic: &str) -> bool {
    let left_out = !super::is_root();
    if left_out {
        let required = std::env::var_os("CI").is_some_and(|v| v == "true");
        assert!(!required, "{topic} has to run as root");
        say(&format!("not covered: {topic}, which takes root\n"));
    }
    left_out
}

/// Says a line past the capture of test output, and into a file.
fn say(line: &str) {
    // Not print!: the test harness would keep it.
    let mut out = std::io::stdout();
    out.write_all(line.as_bytes()).expect("stdout takes a line");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("covered.txt");
    let file = OpenOptions::new().create(true).append(true).open(file);
    let mut file = file.expect("the target directory can be written to");
    file.write_all(line.as_bytes())
        .expect("the file takes a line");
}
