//! Reads the input as what is compressed in a snapshot file, and decodes what
//! that holds: whatever memory anybody may write to a file.
#![no_main]

#[path = "../../crates/cpython/tests/common/hostile.rs"]
mod hostile;

use firefinch_snapshot::Capture;
use libfuzzer_sys::fuzz_target;
use miniz_oxide::deflate::compress_to_vec_zlib;

fuzz_target!(|input: &[u8]| {
    let mut file = b"firefinch snapshot 1\n".to_vec();
    file.extend(compress_to_vec_zlib(input, 1));
    let Ok(capture) = Capture::from_file(&file) else {
        return;
    };
    assert_eq!(
        Capture::from_file(&capture.to_file()).as_ref(),
        Ok(&capture)
    );
    hostile::decode(&capture);
});
