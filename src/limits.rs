use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Each thread of the target takes a few open files, and the usual soft limit
/// of 1024 is there for the sake of select(2), which is not used here. To be
/// called after a command was launched: that keeps the limit it was given.
pub(crate) fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Refused, it stays as it is, and threads beyond it count as lost.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Afterwards the soft limit is the hard one.
    #[test]
    fn raised() {
        raise_open_files();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
