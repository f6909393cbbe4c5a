use std::fmt;

/// A CPython version, as `PY_VERSION_HEX` (`Include/patchlevel.h`) says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 3 in 3.11.7.
    pub major: u8,
    /// 11 in 3.11.7.
    pub minor: u8,
    /// 7 in 3.11.7.
    pub micro: u8,
    /// Whether it is a final release.
    pub level: ReleaseLevel,
    /// 2 in 3.15.0rc2.
    pub serial: u8,
}

/// The fourth part of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReleaseLevel {
    /// An alpha: layouts still move.
    Alpha,
    /// A beta: layouts still move.
    Beta,
    /// A release candidate.
    Candidate,
    /// A final release.
    Final,
}

impl Version {
    /// The final release with these numbers.
    #[cfg(test)]
    pub(crate) const fn released(major: u8, minor: u8, micro: u8) -> Self {
        Self {
            major,
            minor,
            micro,
            level: ReleaseLevel::Final,
            serial: 0,
        }
    }

    /// Decodes `PY_VERSION_HEX`.
    pub fn from_hex(hex: u32) -> Option<Self> {
        let [major, minor, micro, last] = hex.to_be_bytes();
        let level = match last >> 4 {
            0xa => ReleaseLevel::Alpha,
            0xb => ReleaseLevel::Beta,
            0xc => ReleaseLevel::Candidate,
            0xf => ReleaseLevel::Final,
            _ => return None,
        };
        Some(Self {
            major,
            minor,
            micro,
            level,
            serial: last & 0xf,
        })
    }

    /// Finds the text that `Py_GetVersion` keeps in static memory
    /// (`Python/getversion.c`), such as `3.8.18 (default, Aug …`, in `bytes`.
    pub fn scan(bytes: &[u8]) -> Option<Self> {
        bytes
            .windows(3)
            .enumerate()
            .filter(|(at, w)| {
                matches!(w, [b'2' | b'3', b'.', b'0'..=b'9'])
                    && (*at == 0 || !bytes[*at - 1].is_ascii_graphic())
            })
            .find_map(|(at, _)| Self::parse(&bytes[at..]))
    }

    /// Parses `X.Y.Z[(a|b|rc)N][+] (` at the start of `text`.
    fn parse(text: &[u8]) -> Option<Self> {
        let (major, rest) = number(text)?;
        let (minor, rest) = number(rest.strip_prefix(b".")?)?;
        let (micro, rest) = number(rest.strip_prefix(b".")?)?;
        let (level, rest) = if let Some(rest) = rest.strip_prefix(b"a") {
            (ReleaseLevel::Alpha, rest)
        } else if let Some(rest) = rest.strip_prefix(b"b") {
            (ReleaseLevel::Beta, rest)
        } else if let Some(rest) = rest.strip_prefix(b"rc") {
            (ReleaseLevel::Candidate, rest)
        } else {
            (ReleaseLevel::Final, rest)
        };
        let (serial, rest) = match level {
            ReleaseLevel::Final => (0, rest),
            _ => number(rest)?,
        };
        let rest = rest.strip_prefix(b"+").unwrap_or(rest);
        // Debian appends "+dfsg"-like words; a space and "(" end every form.
        let end = rest.iter().take(64).position(|b| *b == b' ')?;
        rest.get(end..)?.strip_prefix(b" (")?;
        Some(Self {
            major,
            minor,
            micro,
            level,
            serial,
        })
    }
}

fn number(text: &[u8]) -> Option<(u8, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, rest))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)?;
        match self.level {
            ReleaseLevel::Alpha => write!(f, "a{}", self.serial),
            ReleaseLevel::Beta => write!(f, "b{}", self.serial),
            ReleaseLevel::Candidate => write!(f, "rc{}", self.serial),
            ReleaseLevel::Final => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is found among other bytes, and look-alikes are passed over.
    #[test]
    fn version_text_is_found_among_other_bytes() {
        let text = b"\0\x003.1\0 13.8.1 (x)\x003.8.18 (default, Aug  2 2026)\0";
        assert_eq!(Version::scan(text).unwrap().to_string(), "3.8.18");
        let text = b"\x002.7.18+ (default)\0";
        assert_eq!(Version::scan(text).unwrap().to_string(), "2.7.18");
        let text = b"\x003.15.0rc2 (main)\0";
        assert_eq!(Version::scan(text).unwrap().to_string(), "3.15.0rc2");
        assert_eq!(Version::scan(b"3.99999.1 (x) 3.8. (y)"), None);
    }

    /// PY_VERSION_HEX is decoded as patchlevel.h documents it.
    #[test]
    fn version_hex() {
        let version = Version::from_hex(0x030d_00f0).unwrap();
        assert_eq!(version.to_string(), "3.13.0");
        let version = Version::from_hex(0x030f_00b2).unwrap();
        assert_eq!(version.level, ReleaseLevel::Beta);
        assert_eq!(Version::from_hex(0x0102_0300), None);
    }
}
