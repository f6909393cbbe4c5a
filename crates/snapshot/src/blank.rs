use firefinch_memory::{RemoteAddr, Snapshot};

/// What is longer was searched, not decoded; the largest structure that is
/// read as a whole is `_Py_DebugOffsets`, of less than 900 bytes.
const SEARCHED: usize = 1_024;
/// The finest that is told apart, in bytes.
const GRAIN: usize = 64;

/// Fills as much of the long segments with zeros as can be done while `holds`,
/// by halves: so no knowledge is needed of what was searched for.
pub(crate) fn blank(snapshot: &mut Snapshot, mut holds: impl FnMut(&Snapshot) -> bool) {
    let long: Vec<_> = snapshot
        .segments()
        .filter(|(_, bytes)| bytes.len() > SEARCHED)
        .map(|(addr, bytes)| (addr, bytes.to_vec()))
        .collect();
    for (addr, bytes) in long {
        blank_part(snapshot, addr, &bytes, &mut holds);
    }
}

fn blank_part(
    snapshot: &mut Snapshot,
    addr: RemoteAddr,
    bytes: &[u8],
    holds: &mut impl FnMut(&Snapshot) -> bool,
) {
    if bytes.iter().all(|byte| *byte == 0) {
        return;
    }
    snapshot.insert(addr, vec![0; bytes.len()]);
    if holds(snapshot) {
        return;
    }
    snapshot.insert(addr, bytes.to_vec());
    if bytes.len() > GRAIN {
        let (low, high) = bytes.split_at((bytes.len() / 2).next_multiple_of(GRAIN / 2));
        blank_part(snapshot, addr, low, holds);
        blank_part(snapshot, addr.offset(low.len() as u64), high, holds);
    }
}

#[cfg(test)]
mod tests {
    use firefinch_memory::Memory;

    use super::*;

    /// Of a long segment only what matters is left; a short one stays whole.
    #[test]
    fn what_does_not_matter_becomes_zero() {
        let mut snapshot = Snapshot::new();
        snapshot.insert(RemoteAddr::new(0x1_0000), vec![7; 100_000]);
        snapshot.insert(RemoteAddr::new(0x1000), vec![7; 100]);
        let matters = [0x1_0003, 0x1_8000];
        blank(&mut snapshot, |snapshot| {
            let byte = |addr| {
                let mut byte = [0];
                snapshot.read(RemoteAddr::new(addr), &mut byte).unwrap();
                byte[0]
            };
            matters.iter().all(|addr| byte(*addr) == 7)
        });
        let lens: Vec<_> = snapshot.segments().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lens, [100, 100_000]);
        let left = |index| {
            let (_, bytes): (_, &[u8]) = snapshot.segments().nth(index).unwrap();
            bytes.iter().filter(|byte| **byte != 0).count()
        };
        assert_eq!(left(0), 100);
        assert!((2..=2 * GRAIN).contains(&left(1)), "{}", left(1));
    }
}
