mod cause;
mod probes;
mod remedy;

use crate::{Errno, Pid, Place, Uid};

pub use cause::Cause;
use probes::CAP_SYS_PTRACE;
pub use probes::{Capabilities, OwnFacts, Probes, TargetFacts};

/// What was tried on a process, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The process.
    pub pid: Pid,
    /// What was tried and seen.
    pub probes: Probes,
    /// The likely reason; `None` if everything is permitted.
    pub cause: Option<Cause>,
    /// Where we run.
    pub place: Place,
}

impl Diagnosis {
    /// Tries what is permitted on a process; nothing is stopped or read in earnest.
    pub fn of(pid: Pid) -> Self {
        let probes = Probes::collect(pid);
        let place = Place::here();
        Self {
            pid,
            cause: cause(&probes, place),
            probes,
            place,
        }
    }

    /// What to do about it, in a line; `None` if nothing needs to be done.
    pub fn remedy(&self) -> Option<String> {
        let cause = self.cause.as_ref()?;
        Some(cause.remedy(self.pid, self.place))
    }
}

/// The table of causes. A refusal has one of several well-known signatures in
/// what the four probes answer; the kernel's rules behind it are those of
/// `__ptrace_may_access` (kernel/ptrace.c, Linux 6.18).
fn cause(probes: &Probes, place: Place) -> Option<Cause> {
    let (us, target) = (&probes.us, &probes.target);
    let denied = |result: Result<(), Errno>| result.err().is_some_and(Errno::is_denied);
    let missing = |result: Result<(), Errno>| result.err().is_some_and(Errno::is_gone);
    if denied(probes.read_self) && us.seccomp_filter {
        return Some(Cause::SeccompFilter);
    }
    if missing(probes.read_target) || missing(probes.open_maps) {
        return Some(Cause::OtherPidNamespace);
    }
    if probes.seize.err() == Some(Errno::new(libc::EACCES)) {
        // Our own checks answer EPERM; only security modules say EACCES here.
        let label = target.label.as_ref().or(us.label.as_ref());
        return Some(Cause::SecurityModule(label.cloned().unwrap_or_default()));
    }
    if !denied(probes.read_target) {
        return match target.tracer {
            _ if !denied(probes.seize) => None,
            Some(tracer) => Some(Cause::AlreadyTraced(tracer)),
            None => Some(Cause::NotPermitted),
        };
    }
    if !denied(probes.open_maps) {
        // It may be looked at but not attached to: that difference is Yama's.
        return Some(match us.yama_scope {
            Some(scope @ 1..) => Cause::YamaPtraceScope(scope),
            _ => Cause::NotPermitted,
        });
    }
    let capable = us.effective.has(CAP_SYS_PTRACE);
    let user = us.uid.0;
    if !capable && user != 0 && place != Place::Host && us.bounding.has(CAP_SYS_PTRACE) {
        return Some(Cause::CapabilityInert);
    }
    // Who has the capability is refused only by a namespace above or beside
    // ours; who has not sees such a namespace's users as 65534.
    let same_user = target.uids.iter().all(|uid| *uid == us.uid);
    if target.uid_map != us.uid_map && (capable || same_user || target.uids[1].is_overflow()) {
        return Some(Cause::UserNamespace);
    }
    if let Some(theirs) = target.uids.iter().find(|uid| **uid != us.uid) {
        let (ours, theirs) = (us.uid, *theirs);
        return Some(Cause::DifferentUser { ours, theirs });
    }
    if let Some(theirs) = target.gids.iter().find(|gid| **gid != us.gid) {
        let (ours, theirs) = (us.gid, *theirs);
        return Some(Cause::DifferentGroup { ours, theirs });
    }
    if target.files_owner == Some(Uid(0)) && target.uids[1] != Uid(0) {
        return Some(Cause::NotDumpable);
    }
    if !target.permitted.is_subset_of(us.permitted) {
        return Some(Cause::MoreCapabilities);
    }
    Some(Cause::NotPermitted)
}

#[cfg(test)]
mod tests {
    use super::probes::{Capabilities, OwnFacts, TargetFacts};
    use super::*;
    use crate::Gid;

    const EPERM: Result<(), Errno> = Err(Errno::new(libc::EPERM));
    const EACCES: Result<(), Errno> = Err(Errno::new(libc::EACCES));
    const ENOENT: Result<(), Errno> = Err(Errno::new(libc::ENOENT));
    const ESRCH: Result<(), Errno> = Err(Errno::new(libc::ESRCH));
    const PTRACE: Capabilities = Capabilities::new(1 << 19);
    const ROOT_MAP: &str = "0 0 4294967295";

    /// An ordinary user and a process of the same user, everything permitted.
    fn permitted() -> Probes {
        let uids = [Uid(1000); 3];
        Probes {
            read_self: Ok(()),
            open_maps: Ok(()),
            read_target: Ok(()),
            seize: Ok(()),
            us: OwnFacts {
                uid: uids[0],
                gid: Gid(1000),
                uid_map: ROOT_MAP.to_owned(),
                bounding: Capabilities::new((1 << 41) - 1),
                yama_scope: Some(0),
                ..OwnFacts::default()
            },
            target: TargetFacts {
                uids,
                gids: [Gid(1000); 3],
                files_owner: Some(uids[0]),
                uid_map: ROOT_MAP.to_owned(),
                ..TargetFacts::default()
            },
        }
    }

    fn refused() -> Probes {
        Probes {
            open_maps: EACCES,
            read_target: EPERM,
            seize: EPERM,
            ..permitted()
        }
    }

    /// Each row of the table leads to its cause, and the remedy never says sudo inside a container.
    #[test]
    fn each_signature_has_its_cause() {
        let (ours, theirs) = (Uid(1000), Uid(33));
        type Change = fn(&mut Probes);
        let rows: &[(Probes, Change, Place, Option<Cause>)] = &[
            (permitted(), |_| (), Place::Host, None),
            (
                refused(),
                |p| (p.read_self, p.us.seccomp_filter) = (EPERM, true),
                Place::Container,
                Some(Cause::SeccompFilter),
            ),
            (
                refused(),
                |p| (p.open_maps, p.read_target, p.seize) = (ENOENT, ESRCH, ESRCH),
                Place::Container,
                Some(Cause::OtherPidNamespace),
            ),
            (
                refused(),
                |p| (p.us.bounding, p.target.uids) = (PTRACE, [Uid(0); 3]),
                Place::Pod,
                Some(Cause::CapabilityInert),
            ),
            // On a host every user has it in the bounding set; that means nothing.
            (
                refused(),
                |p| p.target.uids = [Uid(33); 3],
                Place::Host,
                Some(Cause::DifferentUser { ours, theirs }),
            ),
            // Without the capability in the bounding set it was never given.
            (
                refused(),
                |p| (p.us.bounding, p.target.uids) = (Capabilities::default(), [Uid(33); 3]),
                Place::Container,
                Some(Cause::DifferentUser { ours, theirs }),
            ),
            // Only the saved id differs: it counts as well.
            (
                refused(),
                |p| p.target.uids[2] = Uid(33),
                Place::Host,
                Some(Cause::DifferentUser { ours, theirs }),
            ),
            (
                refused(),
                |p| p.target.gids[0] = Gid(4),
                Place::Host,
                Some(Cause::DifferentGroup {
                    ours: Gid(1000),
                    theirs: Gid(4),
                }),
            ),
            (
                refused(),
                |p| {
                    p.target.uids = [Uid(65534); 3];
                    p.target.uid_map = "0 1000 1".to_owned();
                },
                Place::Host,
                Some(Cause::UserNamespace),
            ),
            // The user nobody in our own namespace is just another user.
            (
                refused(),
                |p| p.target.uids = [Uid(65534); 3],
                Place::Host,
                Some(Cause::DifferentUser {
                    ours,
                    theirs: Uid(65534),
                }),
            ),
            // Capable here, which does not count there.
            (
                refused(),
                |p| {
                    p.us.effective = PTRACE;
                    p.target.uid_map = "0 0 1".to_owned();
                },
                Place::Container,
                Some(Cause::UserNamespace),
            ),
            (
                refused(),
                |p| p.target.files_owner = Some(Uid(0)),
                Place::Host,
                Some(Cause::NotDumpable),
            ),
            (
                refused(),
                |p| p.target.permitted = Capabilities::new(1 << 13),
                Place::Host,
                Some(Cause::MoreCapabilities),
            ),
            (
                refused(),
                |p| (p.open_maps, p.us.yama_scope) = (Ok(()), Some(1)),
                Place::Host,
                Some(Cause::YamaPtraceScope(1)),
            ),
            (
                refused(),
                |p| (p.open_maps, p.us.yama_scope) = (Ok(()), Some(3)),
                Place::Container,
                Some(Cause::YamaPtraceScope(3)),
            ),
            (
                refused(),
                |p| {
                    p.seize = EACCES;
                    p.target.label = Some("docker-default (enforce)".to_owned());
                },
                Place::Container,
                Some(Cause::SecurityModule("docker-default (enforce)".to_owned())),
            ),
            (
                permitted(),
                |p| (p.seize, p.target.tracer) = (EPERM, Pid::new(7)),
                Place::Container,
                Pid::new(7).map(Cause::AlreadyTraced),
            ),
            (
                permitted(),
                |p| p.seize = EPERM,
                Place::Host,
                Some(Cause::NotPermitted),
            ),
            (refused(), |_| (), Place::Host, Some(Cause::NotPermitted)),
            (
                refused(),
                |p| (p.open_maps, p.us.yama_scope) = (Ok(()), None),
                Place::Host,
                Some(Cause::NotPermitted),
            ),
        ];
        for (base, change, place, expected) in rows {
            let mut probes = base.clone();
            change(&mut probes);
            assert_eq!(cause(&probes, *place), *expected, "{probes:?}");
        }
        let causes = rows.iter().filter_map(|row| row.3.as_ref());
        for cause in causes {
            for place in [Place::Container, Place::Pod] {
                let remedy = cause.remedy(Pid::new(42).unwrap(), place);
                assert!(!remedy.contains("sudo"), "{remedy}");
                assert!(!remedy.is_empty() && !cause.to_string().is_empty());
            }
        }
    }
}
