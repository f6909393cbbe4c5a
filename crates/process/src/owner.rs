use std::fmt;

use crate::procfs::field;
use crate::{AccessError, Errno, Process, Step};

/// A user id, as our user namespace counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// A group id, as our user namespace counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(pub u32);

/// Whose process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The effective user.
    pub uid: Uid,
    /// The effective group.
    pub gid: Gid,
}

impl Owner {
    /// From the lines `Uid:` and `Gid:` of a `status` file: real, effective,
    /// saved, file system.
    pub(crate) fn parse(status: &[u8]) -> Option<Self> {
        let effective = |key| {
            field(status, key)?
                .split_ascii_whitespace()
                .nth(1)?
                .parse()
                .ok()
        };
        Some(Self {
            uid: Uid(effective("Uid")?),
            gid: Gid(effective("Gid")?),
        })
    }
}

impl Process {
    /// The effective user and group it runs as, as our user namespace counts
    /// them; 65534 for those that have no number there.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn owner(&self) -> Result<Owner, AccessError> {
        let status = self.dir().read("status");
        let status = status.map_err(|e| AccessError::io(self.pid(), Step::ReadStat, &e))?;
        Owner::parse(&status)
            .ok_or_else(|| AccessError::new(self.pid(), Step::ReadStat, Errno::EIO))
    }
}

impl Uid {
    /// What the kernel shows for a user without a number in our user
    /// namespace (kernel.overflowuid, 65534 unless changed).
    pub const OVERFLOW: Self = Self(65534);

    /// Whether it is that number. The user `nobody` has it too.
    pub fn is_overflow(self) -> bool {
        self == Self::OVERFLOW
    }

    /// The user's name in our `/etc/passwd`. Directory services are not asked:
    /// a statically linked program cannot load their modules.
    pub fn name(self) -> Option<String> {
        name_in(&std::fs::read("/etc/passwd").ok()?, self)
    }
}

impl Gid {
    /// What the kernel shows for a group without a number in our user namespace.
    pub const OVERFLOW: Self = Self(65534);
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `name:password:uid:…`, one user a line (passwd(5)).
fn name_in(passwd: &[u8], uid: Uid) -> Option<String> {
    passwd.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = std::str::from_utf8(line).ok()?.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid.0)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user is found by number, past lines that are cut short or no text.
    #[test]
    fn names_are_found_by_number() {
        let passwd = b"root:x:0:0::/:/bin/sh\nbroken\n\xff:x:7:\nfinch:x:7:7:,:/:\n";
        assert_eq!(name_in(passwd, Uid(7)).as_deref(), Some("finch"));
        assert_eq!(name_in(passwd, Uid(0)).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, Uid(8)), None);
    }

    /// The effective ids are taken, and a file without them gives none.
    #[test]
    fn effective_ids() {
        let status = b"Name:\tUid: 1 1\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        let owner = Owner::parse(status).unwrap();
        assert_eq!((owner.uid, owner.gid), (Uid(2), Gid(6)));
        assert_eq!(Owner::parse(b"Uid:\t1\n"), None);
    }
}
