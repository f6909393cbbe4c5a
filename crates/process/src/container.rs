use std::fmt;

use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use crate::namespace::own_namespace;
use crate::{AccessError, Process, Step};

/// The id a container runtime gave: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve, as `docker ps` shows it.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Process {
    /// The container it runs in, by the path of its control group; `None` if
    /// that names none, as it may not even in a container.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn container_id(&self) -> Result<Option<ContainerId>, AccessError> {
        let text = self.dir().read("cgroup");
        let text = text.map_err(|e| AccessError::io(self.pid(), Step::ReadStat, &e))?;
        Ok(parse(&text))
    }
}

/// Each line is `hierarchy:controllers:path` (cgroups(7)). Runtimes name the
/// last part of the path, or the last but a few when the container has groups
/// of its own:
///
/// - `ID`: Docker and Kubernetes with the cgroupfs driver
/// - `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
///   `libpod-ID.scope`: the systemd driver
/// - `SLICE:cri-containerd:ID`: containerd given a systemd path without systemd
///
/// Of nested containers the innermost is meant.
fn parse(cgroup: &[u8]) -> Option<ContainerId> {
    cgroup.split(|b| *b == b'\n').find_map(|line| {
        let path = std::str::from_utf8(line).ok()?.splitn(3, ':').nth(2)?;
        let id = path.rsplit('/').find_map(id_in)?;
        Some(ContainerId(id.to_owned()))
    })
}

fn id_in(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = match part.rfind(['-', ':']) {
        Some(at) => (part.get(..at)?, part.get(at + 1..)?),
        None => ("", part),
    };
    // Of a container, but outside of it: its monitor, `crio-conmon-ID.scope`.
    let monitor = prefix.ends_with("conmon");
    let digits = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 64 && digits && !monitor).then_some(id)
}

/// Where we ourselves run: it decides what a person can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Directly on the machine.
    Host,
    /// In a container.
    Container,
    /// In a container of a Kubernetes pod.
    Pod,
}

/// The inode of the first PID namespace (include/uapi/linux/nsfs.h and
/// include/linux/proc_ns.h, PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xeffffffc;

impl Place {
    /// Recognises the place by what runtimes cannot help leaving; the control
    /// group's text proves nothing, as a container may see `/` there.
    pub fn here() -> Self {
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return Self::Pod;
        }
        let pid_namespace = own_namespace("pid");
        let other_pids = pid_namespace != 0 && pid_namespace != FIRST_PID_NAMESPACE;
        let overlay = statfs("/").is_ok_and(|s| s.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        if other_pids || overlay {
            Self::Container
        } else {
            Self::Host
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    /// The forms in which runtimes write an id are all found, the innermost of nested ones, in either version of control groups.
    #[test]
    fn ids_are_found() {
        let cases = [
            format!("0::/system.slice/docker-{A}.scope\n"),
            format!("12:cpu,cpuacct:/docker/{A}\n11:pids:/docker/{A}\n0::/\n"),
            format!("1:name=systemd:/\n9:memory:/kubepods/burstable/pod12-3/{A}\n"),
            format!(
                "0::/kubepods.slice/kubepods-besteffort.slice/\
                 kubepods-besteffort-pod1_2.slice/cri-containerd-{A}.scope\n"
            ),
            format!("0::/kubepods.slice/kubepods-pod1.slice/crio-{A}.scope/container\n"),
            format!("0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{A}\n"),
            format!(
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/x\n"
            ),
            format!("0::/../cri-containerd-{A}.scope\n"),
            format!("0::/docker/{B}/docker/{A}/init.scope\n"),
        ];
        for case in cases {
            let id = parse(case.as_bytes());
            assert_eq!(id.as_ref().map(ContainerId::as_str), Some(A), "{case}");
            assert_eq!(id.unwrap().short(), &A[..12]);
        }
    }

    /// What only looks like an id is not taken for one.
    #[test]
    fn other_groups_have_no_id() {
        let upper = A.to_uppercase();
        let cases = [
            "".to_owned(),
            "0::/\n".to_owned(),
            "0::/user.slice/user-0.slice/session-1.scope\n".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{A}.scope\n"),
            format!("0::/docker/{A}0\n"),
            format!("0::/docker/{}\n", &A[1..]),
            format!("0::/docker/{upper}\n"),
            format!("{A}\n"),
        ];
        for case in cases {
            assert_eq!(parse(case.as_bytes()), None, "{case}");
        }
        assert_eq!(parse(b"0::/\xff\n"), None);
    }
}
