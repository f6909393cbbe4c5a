/// How long a thread ran and waited, in all its life so far.
///
/// `run` and `wait` of a *running* thread advance only at scheduler ticks
/// (1–10 ms) and context switches; `timeslices` changes whenever it is
/// switched in. All equal, for a thread seen blocked before: it did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedStat {
    /// Nanoseconds on a CPU.
    pub run_ns: u64,
    /// Nanoseconds runnable without a CPU.
    pub wait_ns: u64,
    /// How often it was given a CPU.
    pub timeslices: u64,
}

/// The text of a `schedstat` file, for comparison with another one: that takes
/// no parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchedText([u8; Self::LEN]);

impl SchedText {
    /// Three numbers of up to 20 digits with what stands between them, and one
    /// byte that stays zero.
    const LEN: usize = 64;

    pub(crate) const EMPTY: Self = Self([0; Self::LEN]);

    /// Where to read into; what is behind the text must be zero.
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// `run wait timeslices` (fs/proc/base.c, `proc_pid_schedstat`).
    pub(crate) fn parse(&self) -> Option<SchedStat> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let text = text.trim_end_matches('\0');
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(SchedStat {
            run_ns: next()?,
            wait_ns: next()?,
            timeslices: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<SchedStat> {
        let mut sched = SchedText::EMPTY;
        sched.buffer()[..text.len()].copy_from_slice(text.as_bytes());
        sched.parse()
    }

    /// Three numbers, no fewer.
    #[test]
    fn schedstat_files() {
        let text = format!("{} 5 0\n", u64::MAX);
        let stat = parse(&text).unwrap();
        assert_eq!(
            (stat.run_ns, stat.wait_ns, stat.timeslices),
            (u64::MAX, 5, 0)
        );
        for bad in ["", "1 2", "1 -2 3", "1 2 18446744073709551616"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        let longest = [u64::MAX; 3].map(|number| number.to_string()).join(" ");
        assert!(parse(&longest).is_some());
    }
}
