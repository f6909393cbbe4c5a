//! Names and stacks as a target likes them make no picture that memory cannot hold.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "../../cpython/tests/common/meter.rs"]
mod meter;

use std::io;

use common::describe::describe;
use firefinch_report::{Format, Style, write};
use meter::metered;

/// Counts bytes.
#[derive(Default)]
struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A recursive function with a name of 8,192 characters, thousands of lines and as many
/// different stacks takes less memory than a profiler may have, in each format, and every
/// stack has its line.
#[test]
fn long_names() {
    let function = format!("{}@{}.py", "n".repeat(8192), "f".repeat(4000));
    let mut text = String::new();
    for line in 1..=400 {
        text += &format!("1 {function}:7 x280 > {function}:{line}\n");
    }
    let lines: Vec<String> = (1..8000).map(|line| format!("{function}:{line}")).collect();
    text += &format!("1 {}\n", lines.join(" > "));
    let (profile, _) = describe(&text);
    drop((text, lines));
    for format in [Format::Flamegraph, Format::Collapsed] {
        let mut out = Counted::default();
        let (done, held) = metered(|| write(&profile, format, &Style::default(), &mut out));
        done.unwrap();
        println!("{format:?}: {} bytes written, {held} held", out.0);
        assert!(held < 512 << 20, "{format:?} holds {held} bytes");
        assert!(out.0 < 2 << 30, "{format:?} has {} bytes", out.0);
    }
    let mut collapsed = Vec::new();
    write(
        &profile,
        Format::Collapsed,
        &Style::default(),
        &mut collapsed,
    )
    .unwrap();
    let lines = String::from_utf8(collapsed).unwrap();
    assert_eq!(lines.lines().count(), 401);
    assert!(lines.lines().all(|line| line.ends_with(" 1")));
}
