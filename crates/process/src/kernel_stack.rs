use crate::{AccessError, Step, Thread};

/// The most that is read: the kernel writes 64 lines
/// (`MAX_STACK_TRACE_DEPTH`, fs/proc/base.c in Linux 6.12) of some 50 bytes.
const MAX_TEXT: u64 = 16 << 10;

/// The longest name of a function (`KSYM_NAME_LEN`, include/linux/kallsyms.h).
const MAX_NAME: usize = 512;

impl Thread {
    /// The functions of the kernel that it waits in, newest first, as
    /// `/proc/PID/task/TID/stack` has them; none for a thread that runs. It
    /// takes CAP_SYS_ADMIN. Opens a file each time.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted, if the kernel has no such file, or gone.
    pub fn kernel_stack(&self) -> Result<Vec<String>, AccessError> {
        let text = self.read_file("stack", MAX_TEXT);
        let text = text.map_err(|e| AccessError::io(self.pid(), Step::ReadThread, &e))?;
        Ok(functions(&String::from_utf8_lossy(&text)))
    }
}

/// `[<0>] do_epoll_wait+0x5f3/0x760`, and the module's name behind it if it is
/// of one.
fn functions(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let (_, place) = line.split_once("] ")?;
        let name = place.split(['+', ' ']).next()?;
        let name = name.get(..name.len().min(MAX_NAME))?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions are read with and without addresses and modules; what is no such line gives none.
    #[test]
    fn lines() {
        let text = "[<0>] do_epoll_wait+0x5f3/0x760\n[<ffffffff812>] nfs_wait+0x1/0x2 [nfs]\n\
            [<0>] __x64_sys_futex\nnonsense\n[<0>] \n[<0>] +0x1/0x2\n";
        assert_eq!(
            functions(text),
            ["do_epoll_wait", "nfs_wait", "__x64_sys_futex"]
        );
        assert!(functions("").is_empty());
    }
}
