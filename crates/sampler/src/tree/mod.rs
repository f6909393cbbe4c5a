//! The descendants of a process: found as they come, attached to, and counted.
//!
//! That is done by a thread of its own ([`Finder`]), as attaching takes
//! milliseconds in which others are to be sampled. Whoever samples asks at most
//! every 10 ms whether anything was forked on the machine, which is one call;
//! only if so is the tree searched. So a tree in which nothing comes costs
//! nothing more than its processes themselves.

mod census;
mod finder;
mod node;

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use firefinch_process::{Births, Process};

use crate::member::Member;
use crate::options::Manner;
use crate::target::Target;

pub use census::Census;
use census::Verdict;
use finder::{Finder, Order};
use node::Node;

/// How often is asked whether anything was forked: a child that lives for less
/// may be missed with all of its own.
const INTERVAL: Duration = Duration::from_millis(10);

/// How long who may be starting an interpreter is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Attaches to the descendants that a process has now: for the same stacks as it
/// is itself, but to none that is not Python if it is and nobody asked for native
/// ones. Also what became of each process, itself counted.
pub fn descendants(root: &Target) -> (Vec<Target>, Census) {
    let wishes = root.wishes_for_descendants();
    let processes = firefinch_process::descendants(root.process()).unwrap_or_default();
    let most = finder::most(&wishes);
    let mut census = Census {
        beyond: (processes.len() + 1).saturating_sub(most) as u64,
        ..Census::default()
    };
    let processes = processes.into_iter().take(most - 1);
    let mut nodes: Vec<Node> = processes
        .map(|process| Node::new(Arc::new(process)))
        .collect();
    let mut targets = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        targets.extend(nodes.iter_mut().filter_map(|node| node.attach(&wishes)));
        let is_known = |node: &Node| node.is_known() || !node.process.is_alive();
        if nodes.iter().all(is_known) || Instant::now() >= deadline {
            break;
        }
        thread::sleep(node::FIRST_PAUSE);
    }
    census.count(&Verdict::Sampled, true);
    for node in &nodes {
        census.count(&node.verdict, node.process.is_alive());
    }
    let place = |target: &Target| {
        let mut nodes = nodes.iter();
        nodes.position(|node| Arc::ptr_eq(&node.process, target.process()))
    };
    targets.sort_by_key(place);
    (targets, census)
}

/// The processes of a tree, seen from where they are sampled.
#[derive(Debug)]
pub(crate) struct Tree {
    orders: Sender<Order>,
    found: Receiver<Member>,
    census: Arc<Mutex<Census>>,
    births: Births,
    asked: Option<Duration>,
    /// The finder has ended though nobody asked it to: by a defect of ours.
    is_broken: bool,
}

impl Tree {
    /// Of `root`, which is attached to already.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn of(root: &Target, manner: Manner) -> io::Result<Self> {
        let (orders, listen) = mpsc::channel();
        let (tell, found) = mpsc::channel();
        let census = Arc::new(Mutex::new(Census::default()));
        let births = Births::new();
        let finder = Finder::new(root, manner, tell, Arc::clone(&census));
        let builder = thread::Builder::new().name("tree".to_owned());
        builder.spawn(move || finder.run(&listen))?;
        Ok(Self {
            orders,
            found,
            census,
            births,
            asked: None,
            is_broken: false,
        })
    }

    /// One whose finder has ended while somebody lived.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        let census = Census {
            alive: 1,
            ..Census::default()
        };
        Self {
            orders: mpsc::channel().0,
            found: mpsc::channel().1,
            census: Arc::new(Mutex::new(census)),
            births: Births::new(),
            asked: None,
            is_broken: false,
        }
    }

    /// Has the tree searched if anything may have come; what was attached to
    /// since this was last asked.
    pub(crate) fn newcomers(&mut self, time: Duration) -> impl Iterator<Item = Member> + '_ {
        let age = self.asked.map(|then| time.saturating_sub(then));
        if age.is_none_or(|age| age >= INTERVAL) {
            self.asked = Some(time);
            if self.births.any() {
                self.order(Order::Search);
            }
        }
        std::iter::from_fn(|| match self.found.try_recv() {
            Ok(member) => Some(member),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.is_broken = true;
                None
            }
        })
    }

    /// Whether somebody lives who is not sampled now but may be later.
    pub(crate) fn may_have_more(&self) -> bool {
        !self.is_broken && self.census().alive > 0
    }

    /// One has ended.
    pub(crate) fn has_ended(&self) {
        self.order(Order::Search);
    }

    /// One is another program now, which has to be attached to anew.
    pub(crate) fn lose(&self, process: &Arc<Process>) {
        self.order(Order::Attach(Arc::clone(process)));
    }

    /// What was counted.
    pub(crate) fn census(&self) -> Census {
        let census = self.census.lock();
        let census = census.unwrap_or_else(PoisonError::into_inner).clone();
        Census {
            is_partial: self.is_broken,
            ..census
        }
    }

    fn order(&self, order: Order) {
        // If it has ended, that is found out where its answers come from.
        let _ = self.orders.send(order);
    }
}
