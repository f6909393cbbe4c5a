//! What each description in tests/golden becomes, as text and as a picture,
//! is exactly what is written beside it.
//!
//! A changed output is accepted with `FIREFINCH_BLESS=1 cargo test -p
//! firefinch-report --test golden`, and then read in the diff. Of a picture
//! the outline is compared: position, colour and hover text of each frame.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests"
)]

mod common;

use std::path::Path;
use std::{env, fs};

use common::describe::describe;
use common::picture::Picture;
use common::render;
use firefinch_report::Format;

/// Every directory is one case; the output of each matches to the byte.
#[test]
fn outputs_are_as_recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|c| c.unwrap().path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut different = Vec::new();
    for case in cases {
        let text = fs::read_to_string(case.join("input.txt")).unwrap();
        let (profile, style) = describe(&text);
        let collapsed = render(&profile, Format::Collapsed, &style);
        let svg = render(&profile, Format::Flamegraph, &style);
        let again = render(&profile, Format::Flamegraph, &style);
        assert!(svg == again, "{} differs from run to run", case.display());
        let outline = Picture::read(&svg).outline();
        for (file, found) in [("collapsed.txt", collapsed), ("flamegraph.txt", outline)] {
            let file = case.join(file);
            if env::var_os("FIREFINCH_BLESS").is_some() {
                fs::write(&file, found).unwrap();
            } else if fs::read_to_string(&file).unwrap_or_default() != found {
                different.push(format!("--- {}\n{found}", file.display()));
            }
        }
    }
    assert!(
        different.is_empty(),
        "these differ:\n{}",
        different.join("\n")
    );
}
