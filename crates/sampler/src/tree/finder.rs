use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use firefinch_process::{Children, Pid, Process, StartTime, most_processes, open_child};
use nix::time::{ClockId, clock_gettime};

use super::census::{Census, Verdict};
use super::node::Node;
use crate::attach::Stacks;
use crate::member::Member;
use crate::options::Manner;
use crate::target::{Target, Wishes};

/// What is asked of the finder.
#[derive(Debug)]
pub(super) enum Order {
    /// Somebody may have come or gone.
    Search,
    /// This one has to be attached to anew.
    Attach(Arc<Process>),
}

/// Finds the processes of a tree and attaches to them.
#[derive(Debug)]
pub(super) struct Finder {
    nodes: BTreeMap<Pid, Node>,
    wishes: Wishes,
    manner: Manner,
    kin: Children,
    /// Of those that have ended.
    past: Census,
    found: Sender<Member>,
    census: Arc<Mutex<Census>>,
    /// When to search next, whether anybody asks for it or not.
    due: Instant,
    /// When searching again would take too much of the time.
    pause_until: Instant,
    is_asked: bool,
    most: usize,
}

/// How long nobody has to be asked for a search.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A search is followed by a pause of at least so long …
const PAUSE: Duration = Duration::from_millis(10);

/// … and of so many times what it took: on a machine that forks all the time it
/// takes a hundredth of a processor.
const SHARE: u32 = 100;

/// Of so many processes at a time: each takes some hundred kilobytes, and its part of
/// every tick.
const MOST: usize = 512;

/// What a process has open besides files that are only kept: its directory, its
/// pidfd, its memory, and the load of the machine.
const DESCRIPTORS: usize = 6;

/// Native stacks take the object files that they are in as well; Python with NumPy
/// has some thirty, of which not all are ever met.
const WITH_NATIVE: usize = 32;

/// How many processes are attached to at a time.
pub(super) fn most(wishes: &Wishes) -> usize {
    let each = match wishes.stacks {
        Stacks::Python => DESCRIPTORS,
        Stacks::PythonOrNative | Stacks::Merged => WITH_NATIVE,
    };
    MOST.min(most_processes(each)).max(1)
}

/// How long to look at things for the first time, which is better not done
/// while others wait to be sampled.
const PREPARATION: Duration = Duration::from_millis(200);

/// The processor time that this thread has used.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(Duration::ZERO, Duration::from)
}

impl Finder {
    pub(super) fn new(
        root: &Target,
        manner: Manner,
        found: Sender<Member>,
        census: Arc<Mutex<Census>>,
    ) -> Self {
        let process = Arc::clone(root.process());
        let mut finder = Self {
            nodes: BTreeMap::from([(process.pid(), Node::sampled(process))]),
            wishes: root.wishes_for_descendants(),
            manner,
            kin: Children::default(),
            past: Census::default(),
            found,
            census,
            due: Instant::now(),
            pause_until: Instant::now(),
            is_asked: true,
            most: most(&root.wishes_for_descendants()),
        };
        finder.publish();
        finder
    }

    /// Works until nobody listens any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let wait = self.next().saturating_duration_since(Instant::now());
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    self.take(order);
                    orders.try_iter().for_each(|order| self.take(order));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now >= self.due || self.is_asked && now >= self.pause_until {
                self.search();
            }
            self.attach();
            self.publish();
        }
    }

    /// When there is something to do.
    fn next(&self) -> Instant {
        let search = match self.is_asked {
            true => self.pause_until.min(self.due),
            false => self.due,
        };
        let nodes = self.nodes.values().filter_map(Node::due);
        nodes.fold(search, Instant::min)
    }

    fn take(&mut self, order: Order) {
        let Order::Attach(process) = order else {
            self.is_asked = true;
            return;
        };
        let node = self.nodes.get_mut(&process.pid());
        if let Some(node) = node.filter(|node| Arc::ptr_eq(&node.process, &process)) {
            node.begin();
        }
    }

    fn search(&mut self) {
        let begun = own_time();
        let was_asked = std::mem::take(&mut self.is_asked);
        self.bury();
        let mut beyond = 0;
        let mut parents: Vec<Arc<Process>> = self.processes().collect();
        while !parents.is_empty() {
            let refs: Vec<&Process> = parents.iter().map(|process| &**process).collect();
            let listed = StartTime::now();
            let children = self.kin.of(&refs).unwrap_or_default();
            let known = self.nodes.len();
            let mut new = Vec::new();
            for pid in children {
                if self.nodes.contains_key(&pid)
                    || u32::try_from(pid.get()) == Ok(std::process::id())
                {
                    continue;
                }
                if known + new.len() >= self.most {
                    beyond += 1;
                    continue;
                }
                // Else a zombie, or gone by now.
                new.extend(open_child(pid, &refs, listed).map(Arc::new));
            }
            for process in &new {
                let node = Node::new(Arc::clone(process));
                self.nodes.insert(process.pid(), node);
            }
            parents = new;
        }
        self.past.beyond = self.past.beyond.max(beyond);
        // Not the time that passed: on a busy machine others had most of that.
        let took = own_time().saturating_sub(begun);
        let now = Instant::now();
        self.pause_until = now + PAUSE.max(took * SHARE).min(AT_LEAST);
        // A number is given a moment before its owner is on any list: what was
        // heard of may have come too late for this search.
        self.due = match was_asked {
            true => self.pause_until,
            false => now + AT_LEAST,
        };
    }

    fn processes(&self) -> impl Iterator<Item = Arc<Process>> + '_ {
        self.nodes.values().map(|node| Arc::clone(&node.process))
    }

    /// Those that have ended are only counted.
    fn bury(&mut self) {
        let past = &mut self.past;
        self.nodes.retain(|_, node| {
            let lives = node.process.is_alive();
            if !lives {
                past.count(&node.verdict, false);
            }
            lives
        });
    }

    fn attach(&mut self) {
        for node in self.nodes.values_mut() {
            let Some(mut target) = node.attach(&self.wishes) else {
                continue;
            };
            // Whatever cannot be had now is counted when it is missed.
            if node.process.is_alive() {
                let _ = target.prepare(PREPARATION);
            }
            target.hand_over();
            match Member::new(target, self.manner) {
                // Nobody listens at the end.
                Ok(member) => drop(self.found.send(member)),
                Err(error) => node.verdict = Verdict::Refused(error.to_string()),
            }
        }
    }

    fn publish(&mut self) {
        let mut census = self.past.clone();
        for node in self.nodes.values() {
            census.count(&node.verdict, true);
        }
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = census;
    }
}
