use std::collections::HashMap;
use std::io;

use crate::list::own_pid;
use crate::procfs::ProcDir;
use crate::running::RunningThreads;
use crate::stat::Stat;
use crate::{AccessError, Errno, Pid, Process, StartTime, list};

/// Finds the children of processes, again and again.
///
/// The kernel lists those of each thread in `/proc/PID/task/TID/children`
/// (fs/proc/array.c, `get_children_pid`), where it was built with
/// CONFIG_PROC_CHILDREN; else `/proc` is searched for processes with the right
/// parent. The list is that of a moment while others come and go, and may lack
/// one that the next has.
#[derive(Debug, Default)]
pub struct Children {
    /// There are no such files.
    by_search: bool,
}

impl Children {
    /// The children that these processes have now, zombies included, in the
    /// order of the processes. One that is gone has none any more: they have
    /// got another parent.
    ///
    /// # Errors
    /// [`AccessError`] if `/proc` had to be searched and cannot be read.
    pub fn of(&mut self, parents: &[&Process]) -> Result<Vec<Pid>, AccessError> {
        let mut children = Vec::new();
        for parent in parents {
            if self.by_search {
                break;
            }
            match listed(parent) {
                Ok(listed) => children.extend(listed),
                Err(error) if Errno::from(&error).is_gone() && lists_none() => {
                    self.by_search = true;
                }
                Err(_) => {}
            }
        }
        match self.by_search {
            true => search(parents),
            false => Ok(children),
        }
    }
}

/// Of all its threads: one that ends hands its children on to another.
fn listed(parent: &Process) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    let mut last = Ok(());
    let mut any = false;
    for tid in parent.dir().list_numbers("task")? {
        match parent.dir().read(&format!("task/{tid}/children")) {
            Ok(text) => {
                any = true;
                children.extend(parse(&text));
            }
            Err(error) => last = Err(error),
        }
    }
    match any {
        true => Ok(children),
        false => last.map(|()| children),
    }
}

/// Numbers with a space after each.
fn parse(text: &[u8]) -> impl Iterator<Item = Pid> + '_ {
    let numbers = text.split(|b| b.is_ascii_whitespace());
    numbers.filter_map(|number| std::str::from_utf8(number).ok()?.parse().ok())
}

/// Whether the kernel has no such files, not even for ourselves.
fn lists_none() -> bool {
    let own = ProcDir::open("/proc/thread-self");
    own.is_ok_and(|own| own.open_file("stat").is_ok() && own.open_file("children").is_err())
}

fn search(parents: &[&Process]) -> Result<Vec<Pid>, AccessError> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for pid in list()? {
        let stat = ProcDir::open(&format!("/proc/{pid}")).and_then(|dir| dir.read("stat"));
        // It may have ended meanwhile.
        let stat = stat.ok().and_then(|text| Stat::parse(&text).ok());
        if let Some(parent) = stat.and_then(|stat| stat.parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let of = |parent: &&Process| children.remove(&parent.pid()).unwrap_or_default();
    Ok(parents.iter().flat_map(of).collect())
}

/// Opens a process that was listed as a child of one of these at `listed` or later;
/// `None` if it has ended. Its number may be another process's by then, which has
/// another parent and has started since. A child may have got another parent, too.
pub fn open_child(pid: Pid, parents: &[&Process], listed: StartTime) -> Option<Process> {
    let process = Process::open(pid).ok()?;
    let mut parents = parents.iter().map(|parent| parent.pid());
    let is_child = parents.any(|parent| process.parent() == Some(parent));
    (is_child || process.start_time() < listed).then_some(process)
}

/// The descendants that a process has now, parents before their children; those
/// that cannot be opened any more are left out, and ourselves with ours.
///
/// # Errors
/// [`AccessError`] if processes cannot be listed.
pub fn descendants(root: &Process) -> Result<Vec<Process>, AccessError> {
    let mut found: Vec<Process> = Vec::new();
    let mut kin = Children::default();
    let mut from = 0;
    let own = own_pid();
    loop {
        let parents = match found.get(from..) {
            Some([]) if found.is_empty() => vec![root],
            Some(new) => new.iter().collect(),
            None => Vec::new(),
        };
        let listed = StartTime::now();
        let children = kin.of(&parents)?.into_iter().filter(|pid| *pid != own);
        let new: Vec<Process> = children
            .filter_map(|pid| open_child(pid, &parents, listed))
            .collect();
        if new.is_empty() {
            return Ok(found);
        }
        from = found.len();
        found.extend(new);
    }
}

/// Tells in one call whether a process or thread may have come anywhere on the
/// machine: they are numbered one after another, and `/proc/loadavg` ends with
/// the last number that was given (fs/proc/loadavg.c).
#[derive(Debug)]
pub struct Births {
    /// `None` where that cannot be told.
    machine: Option<RunningThreads>,
    last: Option<Pid>,
}

impl Births {
    /// Of those that come from now on.
    pub fn new() -> Self {
        let mut births = Self {
            machine: RunningThreads::open(),
            last: None,
        };
        births.any();
        births
    }

    /// Whether one may have come since this was last asked.
    pub fn any(&mut self) -> bool {
        let last = self.machine.as_ref().and_then(RunningThreads::newest);
        let same = last.is_some() && last == self.last;
        self.last = last;
        !same
    }
}

impl Default for Births {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell with two children, one of which has one of its own; each says its
    /// number and waits for the end of its input.
    fn family() -> (Child, Vec<Pid>) {
        let script = "exec 3<&0
            sh -c 'echo $$; sh -c \"echo \\$\\$; read x\" <&3 & wait' &
            sh -c 'echo $$; read x' <&3 &
            wait";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let said = lines.take(3).map(|line| line.unwrap().parse().unwrap());
        (shell, said.collect())
    }

    fn sorted(mut pids: Vec<Pid>) -> Vec<Pid> {
        pids.sort_unstable();
        pids
    }

    /// Children and grandchildren are found by the kernel's lists and by a search alike, and are all gone when they have ended.
    #[test]
    fn two_generations() {
        let (mut shell, said) = family();
        let root = Pid::new(i32::try_from(shell.id()).unwrap()).unwrap();
        let root = Process::open(root).unwrap();
        let found = descendants(&root).unwrap();
        assert_eq!(
            sorted(found.iter().map(Process::pid).collect()),
            sorted(said)
        );
        let parents: Vec<&Process> = found.iter().chain([&root]).collect();
        let listed = Children::default().of(&parents).unwrap();
        let mut kin = Children { by_search: true };
        assert_eq!(sorted(listed.clone()), sorted(kin.of(&parents).unwrap()));
        assert_eq!(listed.len(), 3);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(kin.of(&parents).unwrap(), []);
        assert_eq!(Children::default().of(&parents).unwrap(), []);
    }

    /// Who has the number of a child that was listed is taken for it only if it has
    /// that parent, or was there before it was listed.
    #[test]
    fn reused_numbers() {
        let (mut shell, said) = family();
        let of = |pid| Process::open(pid).unwrap();
        let root = of(Pid::new(i32::try_from(shell.id()).unwrap()).unwrap());
        let child = of(said[0]);
        let begun = child.start_time();
        let is_taken = |parent: &Process, listed| {
            let opened = open_child(child.pid(), &[parent], listed);
            opened.is_some_and(|opened| opened.start_time() == begun)
        };
        let other = of(own_pid());
        let parent = match child.parent() {
            Some(parent) if parent == root.pid() => root,
            parent => of(parent.unwrap()),
        };
        assert!(is_taken(&parent, begun));
        assert!(!is_taken(&other, begun));
        let now = loop {
            let now = StartTime::now();
            if now > begun {
                break now;
            }
        };
        assert!(is_taken(&other, now));
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    /// A process that comes is noticed, and no other reading of the file is asked for again and again.
    #[test]
    fn births_are_noticed() {
        let mut births = Births::new();
        Command::new("true").status().unwrap();
        assert!(births.any());
        // Others come and go meanwhile, but not all the time.
        assert!((0..100_000).any(|_| !births.any()));
    }

    /// Whatever else stands in the text is no number.
    #[test]
    fn text_of_children() {
        let numbers: Vec<i32> = parse(b"12 7 0 -3 x 99999999999 5 \n")
            .map(Pid::get)
            .collect();
        assert_eq!(numbers, [12, 7, 5]);
        assert_eq!(parse(b"").count(), 0);
    }
}
