use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use super::eventually;

/// A shell owns the terminal, as it does for people: the program ends before it, and
/// goes on at Enter if it was suspended.
const SHELL: &str = r#"set -m; "$@"; status=$?
while [ $status = 148 ]; do echo suspended; read -r _; fg >/dev/null; status=$?; done
echo "status $status."; read -r _"#;

/// A terminal on which `firefinch` runs, and what it looks like.
pub(crate) struct Terminal {
    shell: Child,
    pid: i32,
    /// Our end, for keys.
    keyboard: File,
    /// The program's end, for modes and sizes.
    device: File,
    screen: Arc<Mutex<vt100::Parser>>,
    /// The modes before it was started.
    before: LocalFlags,
}

impl Terminal {
    /// Starts `firefinch` with these arguments on a terminal of this size.
    pub(crate) fn start<S: AsRef<OsStr>>(
        args: impl IntoIterator<Item = S>,
        (rows, columns): (u16, u16),
    ) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).expect("a terminal can be had");
        let (keyboard, device) = (File::from(pty.master), File::from(pty.slave));
        // Whoever has our end keeps the terminal alive: nobody else is to have it.
        for end in [&keyboard, &device] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let before = tcgetattr(&device).unwrap().local_flags;
        let stdio = || device.try_clone().unwrap();
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "sh", "-c", SHELL, "sh"])
            .arg(env!("CARGO_BIN_EXE_firefinch"))
            .args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio());
        let shell = command.spawn().expect("setsid starts");
        drop(command);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (parser, mut output) = (Arc::clone(&screen), keyboard.try_clone().unwrap());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..length]);
            }
        });
        let children = format!("/proc/{0}/task/{0}/children", shell.id());
        let pid = eventually("the shell starts firefinch", || {
            let children = fs::read_to_string(&children).ok()?;
            children.trim().parse().ok()
        });
        Self {
            shell,
            pid,
            keyboard,
            device,
            screen,
            before,
        }
    }

    /// The PID of `firefinch`.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    /// Presses these keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Writes on the terminal, as another program that has it.
    pub(crate) fn scribble(&mut self, text: &str) {
        self.device.write_all(text.as_bytes()).unwrap();
    }

    /// Gives the terminal another size, of which the program is told.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.screen
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(rows, columns);
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let mut stty = Command::new("stty");
        stty.args(["rows", &rows, "columns", &columns]);
        let status = stty.stdin(self.device.try_clone().unwrap()).status();
        assert!(status.unwrap().success());
    }

    /// What is to be seen, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let (_, columns) = parser.screen().size();
        let rows = parser.screen().rows(0, columns);
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    /// Waits until `look` finds what it looks for.
    pub(crate) fn shows<T>(&self, what: &str, look: impl Fn(&[String]) -> Option<T>) -> T {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || look(&self.lines()))
        }));
        found.unwrap_or_else(|_| panic!("waited in vain for {what}: {:#?}", self.lines()))
    }

    /// Waits until a full screen is drawn.
    pub(crate) fn is_taken(&self) {
        eventually("a full screen is drawn", || {
            let parser = self.screen.lock().unwrap();
            parser.screen().alternate_screen().then_some(())
        });
        eventually("keys are passed on at once", || {
            let modes = tcgetattr(&self.device).unwrap().local_flags;
            let is_raw = !modes.intersects(LocalFlags::ICANON | LocalFlags::ECHO);
            is_raw.then_some(())
        });
    }

    /// Waits until the shell has the terminal, which must be as it was.
    pub(crate) fn is_suspended(&self) {
        self.shows("that it is suspended", |lines| {
            lines.iter().any(|line| line == "suspended").then_some(())
        });
        self.is_as_before();
    }

    fn is_as_before(&self) {
        let modes = tcgetattr(&self.device).unwrap().local_flags;
        assert_eq!(modes, self.before, "{:#?}", self.lines());
        let parser = self.screen.lock().unwrap();
        assert!(!parser.screen().alternate_screen());
        assert!(!parser.screen().hide_cursor());
    }

    /// Waits for the end of `firefinch`: its exit status, and what it has left on
    /// the terminal, which must be as it was.
    pub(crate) fn end(self) -> (i32, Vec<String>) {
        let status = |lines: &[String]| {
            let line = lines.iter().find(|line| line.starts_with("status "))?;
            line.strip_prefix("status ")?
                .strip_suffix('.')?
                .parse()
                .ok()
        };
        let status = self.shows("the end of firefinch", status);
        self.is_as_before();
        (status, self.lines())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.shell.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let mut children = children.split_whitespace();
        // Only while it is the shell's child is the number its own.
        if children.any(|pid| pid.parse() == Ok(self.pid)) {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
