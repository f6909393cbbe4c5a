use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::{Errno, Pid};

/// When a process or thread started, in clock ticks (1/100 s) after boot.
/// With the PID it identifies a process for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartTime(u64);

impl StartTime {
    /// USER_HZ: 100 on every architecture supported here
    /// (include/uapi/asm-generic/param.h).
    const TICKS_PER_SECOND: u64 = 100;

    /// The time after boot, accurate to 10 ms.
    pub const fn since_boot(self) -> Duration {
        Duration::from_millis(self.0.saturating_mul(1000 / Self::TICKS_PER_SECOND))
    }

    /// What one that starts now has, in the time namespace that we are in; 0 where
    /// nobody knows.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME);
        let now = now.map_or(Duration::ZERO, Duration::from);
        let ticks = now.as_millis() / u128::from(1000 / Self::TICKS_PER_SECOND);
        Self(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// The number of ticks.
    pub const fn ticks(self) -> u64 {
        self.0
    }
}

/// The state letter of `/proc/PID/stat` (fs/proc/array.c, `task_state_array`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// `R`: on a CPU or waiting for one.
    Running,
    /// `S`: waits and can be interrupted.
    Sleeping,
    /// `D`: waits and cannot be interrupted.
    Uninterruptible,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by a tracer.
    Traced,
    /// `Z`: exited, its status not collected.
    Zombie,
    /// `X`: dead.
    Dead,
    /// `I`, `P` and whatever the kernel adds.
    Other(u8),
}

impl TaskState {
    fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::Uninterruptible,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'Z' => Self::Zombie,
            b'X' | b'x' => Self::Dead,
            other => Self::Other(other),
        }
    }

    /// Whether the task will never run again.
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Zombie | Self::Dead)
    }
}

/// The fields of a `stat` file that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: TaskState,
    pub(crate) parent: Option<Pid>,
    pub(crate) flags: u64,
    pub(crate) start_time: StartTime,
    /// The CPU it is on or was on last.
    pub(crate) processor: Option<usize>,
    /// Its scheduling policy (SCHED_* of include/uapi/linux/sched.h).
    pub(crate) policy: Option<u64>,
}

/// PF_KTHREAD of include/linux/sched.h: a kernel thread.
const PF_KTHREAD: u64 = 0x0020_0000;

impl Stat {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Errno> {
        // The second field is the name in parentheses. The target chooses it
        // and it may contain `) `: only the last `)` of the file ends it.
        let end = text.iter().rposition(|b| *b == b')').ok_or(Errno::EIO)?;
        let rest = text.get(end + 1..).unwrap_or_default();
        let rest = std::str::from_utf8(rest).map_err(|_| Errno::EIO)?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) numbers fields from 1; the state is field 3.
        let number = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
        let state = fields.first().and_then(|s| s.bytes().next());
        let parent = fields.get(1).and_then(|s| s.parse().ok());
        Ok(Self {
            state: TaskState::from_letter(state.ok_or(Errno::EIO)?),
            parent,
            flags: number(9).ok_or(Errno::EIO)?,
            start_time: StartTime(number(22).ok_or(Errno::EIO)?),
            processor: number(39).and_then(|number| number.try_into().ok()),
            policy: number(41),
        })
    }

    pub(crate) fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name made to look like the end of the name field does not shift the fields after it.
    #[test]
    fn hostile_names_do_not_shift_fields() {
        let tail = " S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10 0";
        for name in [
            "sleep",
            ") R 9 9",
            "a) (b",
            "",
            "))))",
            "x\\ny",
            "\u{1f426}",
        ] {
            let stat = Stat::parse(format!("42 ({name}){tail}").as_bytes()).unwrap();
            assert_eq!(stat.state, TaskState::Sleeping, "{name}");
            assert_eq!(stat.parent, Pid::new(7), "{name}");
            assert_eq!(stat.start_time.ticks(), 4711, "{name}");
            assert!(!stat.is_kernel_thread());
        }
    }

    /// A file cut at any byte is an error or, once all fields are there, the same fields.
    #[test]
    fn truncated_files_are_errors() {
        let text = b"42 (a) b) S 7 1 1 0 -1 2097152 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10 0";
        let whole = Stat::parse(text).unwrap();
        assert!(whole.is_kernel_thread());
        let ends = text.windows(5).position(|w| w == b"4711 ").unwrap() + 4;
        for cut in 0..text.len() {
            match Stat::parse(&text[..cut]) {
                Ok(stat) if cut >= ends => assert_eq!(stat, whole),
                // A number cut short is another number; no more can be said.
                Ok(stat) => assert_ne!(stat.start_time, whole.start_time),
                Err(errno) => assert_eq!(errno, Errno::EIO),
            }
        }
    }
}
