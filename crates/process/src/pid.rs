use std::fmt;
use std::str::FromStr;

macro_rules! task_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i32);

        impl $name {
            /// The id with this number; `None` for 0 and below, which the
            /// kernel reads as "myself", "my group" or "everyone".
            pub const fn new(value: i32) -> Option<Self> {
                if value > 0 { Some(Self(value)) } else { None }
            }

            /// The number, always positive.
            pub const fn get(self) -> i32 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                // Digits only: no sign, no blanks, as /proc writes them.
                if !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(ParseIdError);
                }
                text.parse().ok().and_then(Self::new).ok_or(ParseIdError)
            }
        }
    };
}

task_id! {
    /// A process, by its number in our own PID namespace.
    Pid
}
task_id! {
    /// A thread, by its number in our own PID namespace.
    Tid
}
task_id! {
    /// A thread, by its number in its own innermost PID namespace: what
    /// `gettid()` returns inside the target.
    NsTid
}

impl Pid {
    /// The thread that started the process: its thread id is the process id.
    pub const fn leader(self) -> Tid {
        Tid(self.0)
    }
}

/// Text that is not a positive process or thread id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a process id: expected a positive number")
    }
}

impl std::error::Error for ParseIdError {}
