use firefinch_profile::{Frame, FrameKind, Profile};

/// Whose code a frame runs: what a reader wants to tell apart at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// Python code of the program itself.
    Application,
    /// Python code of an installed package.
    Library,
    /// Python code that came with the interpreter.
    Standard,
    /// Machine code in user space.
    Native,
    /// Machine code in the kernel.
    Kernel,
    /// No code: a thread, a process, a remark.
    Label,
}

impl Origin {
    /// The origin of a frame, as far as its kind and its file's path tell.
    pub(crate) fn of(profile: &Profile, frame: &Frame) -> Self {
        match frame.kind {
            FrameKind::Native => Self::Native,
            FrameKind::Kernel => Self::Kernel,
            FrameKind::Marker => Self::Label,
            FrameKind::Python => {
                let file = frame.file.or(frame.short_file);
                file.map_or(Self::Application, |f| Self::of_path(profile.string(f)))
            }
        }
    }

    /// The origin of a Python file. Installed packages live in `site-packages`
    /// or, on Debian, `dist-packages`; the standard library in
    /// `lib/pythonX.Y`, in `pythonXY.zip`, or frozen into the interpreter
    /// (CPython: Modules/getpath.py, Lib/site.py).
    fn of_path(path: &str) -> Self {
        if path.starts_with("<frozen ") {
            return Self::Standard;
        }
        let parts = || path.split('/');
        if parts().any(|part| matches!(part, "site-packages" | "dist-packages")) {
            return Self::Library;
        }
        let zipped = parts().any(|part| {
            let version = part
                .strip_suffix(".zip")
                .and_then(|p| p.strip_prefix("python"));
            version.is_some_and(is_version)
        });
        let installed = parts().zip(parts().skip(1)).any(|(dir, part)| {
            let version = part.strip_prefix("python");
            matches!(dir, "lib" | "lib64") && version.is_some_and(is_version)
        });
        if zipped || installed {
            Self::Standard
        } else {
            Self::Application
        }
    }

    /// What the legend calls it; a label needs no entry.
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Application => Some("application"),
            Self::Library => Some("packages"),
            Self::Standard => Some("standard library"),
            Self::Native => Some("native"),
            Self::Kernel => Some("kernel"),
            Self::Label => None,
        }
    }
}

/// Whether this is the version of an interpreter: `3.11`, `311`, `3.13t`, `2.7`.
fn is_version(text: &str) -> bool {
    let digits = text.trim_end_matches(['t', 'd', 'm', 'u']);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths as they occur on real systems are told apart.
    #[test]
    fn paths_are_told_apart() {
        let cases = [
            ("/srv/shop/orders.py", Origin::Application),
            ("/srv/python3/app.py", Origin::Application),
            ("/opt/lib/pythonic/app.py", Origin::Application),
            ("<string>", Origin::Application),
            ("/usr/lib/python3.11/json/decoder.py", Origin::Standard),
            ("/usr/local/lib/python3.13t/threading.py", Origin::Standard),
            ("/usr/lib/python2.7/json/decoder.py", Origin::Standard),
            ("/usr/lib/python311.zip/abc.py", Origin::Standard),
            ("<frozen importlib._bootstrap>", Origin::Standard),
            ("/venv/lib/python3.11/site-packages/x/y.py", Origin::Library),
            ("/usr/lib/python3/dist-packages/yaml/a.py", Origin::Library),
        ];
        for (path, origin) in cases {
            assert_eq!(Origin::of_path(path), origin, "{path}");
        }
    }
}
