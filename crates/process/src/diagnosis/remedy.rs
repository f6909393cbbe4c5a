//! What a person can do about each cause, where they are.

use crate::{Cause, Pid, Place};

/// The way to the capability in each place.
fn give_capability(place: Place) -> &'static str {
    match place {
        Place::Host => "run it with sudo",
        Place::Container => {
            "start the container with --cap-add=SYS_PTRACE, or run firefinch on the host"
        }
        Place::Pod => {
            "use kubectl debug with --profile=general --target=CONTAINER, or add SYS_PTRACE \
             to securityContext.capabilities of the container"
        }
    }
}

impl Cause {
    /// What to type or change, in a line. Never `sudo` inside a container:
    /// what is missing there, root in the container has not got either.
    pub fn remedy(&self, pid: Pid, place: Place) -> String {
        let text = match (self, place) {
            (Self::SeccompFilter, Place::Host) => {
                "run it outside of the sandbox that set the filter (see Seccomp in \
                 /proc/self/status)"
            }
            (Self::SeccompFilter, _) => give_capability(place),
            (Self::OtherPidNamespace, Place::Host) => "firefinch ps lists what can be profiled",
            (Self::OtherPidNamespace, Place::Container) => {
                "share its PIDs: docker run --pid=container:NAME --cap-add=SYS_PTRACE …"
            }
            (Self::OtherPidNamespace, Place::Pod) => {
                "share its PIDs: kubectl debug --target=CONTAINER, or shareProcessNamespace: true"
            }
            (Self::CapabilityInert, Place::Pod) => {
                "run as root in this container: securityContext.runAsUser: 0"
            }
            (Self::CapabilityInert, _) => "run as root in this container: docker exec --user 0 …",
            (Self::UserNamespace, Place::Host) => {
                return format!(
                    "run it inside: sudo nsenter --user --target {pid}, or as root on the host"
                );
            }
            (Self::UserNamespace, _) => {
                "run it in the target's own container, or as root on the host"
            }
            (Self::DifferentUser { theirs, .. }, Place::Host) => {
                return format!("run it with sudo, or as that user: sudo -u '#{theirs}' …");
            }
            (Self::DifferentUser { theirs, .. }, Place::Container) => {
                return format!(
                    "run it as that user: docker exec --user {theirs} …; or {}",
                    give_capability(place)
                );
            }
            (Self::DifferentUser { theirs, .. }, Place::Pod) => {
                return format!(
                    "run it as that user: securityContext.runAsUser: {theirs}; or {}",
                    give_capability(place)
                );
            }
            (Self::DifferentGroup { .. } | Self::NotDumpable | Self::MoreCapabilities, _) => {
                give_capability(place)
            }
            (Self::YamaPtraceScope(3..), Place::Host) => {
                "nothing until the next boot: 3 forbids it to everyone; then set \
                 kernel.yama.ptrace_scope to 1"
            }
            (Self::YamaPtraceScope(3..), _) => {
                "nothing here: the host's kernel.yama.ptrace_scope is 3, which forbids it to \
                 everyone until its next boot"
            }
            (Self::YamaPtraceScope(1), Place::Host) => {
                "run it with sudo; or let firefinch start the program: firefinch record -- \
                 COMMAND; or for all: sudo sysctl kernel.yama.ptrace_scope=0"
            }
            (Self::YamaPtraceScope(_), _) => give_capability(place),
            (Self::SecurityModule(_), Place::Host) => {
                "see the log (sudo journalctl -k) for the rule: AppArmor needs a rule for \
                 ptrace, SELinux the boolean deny_ptrace off"
            }
            (Self::SecurityModule(_), Place::Container) => {
                "start the container with --security-opt apparmor=unconfined (SELinux: \
                 --security-opt label=disable), or run firefinch on the host"
            }
            (Self::SecurityModule(_), Place::Pod) => {
                "set securityContext.appArmorProfile.type: Unconfined on the container, or run \
                 firefinch on the node"
            }
            (Self::AlreadyTraced(tracer), _) => {
                return format!("go on without --blocking, or end process {tracer}");
            }
            (Self::NotPermitted, _) => give_capability(place),
        };
        text.to_owned()
    }
}
