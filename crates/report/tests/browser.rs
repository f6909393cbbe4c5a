//! The picture works where it is used: in a real browser.
//!
//! Needs Chromium. Without it the test fails and says how to get it, unless
//! `FIREFINCH_SKIP_BROWSER` is set; with `CI=true` it fails in any case.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests"
)]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use common::describe::describe;
use common::render;
use firefinch_report::Format;

/// What the browser does after the picture has set itself up: a click on
/// “Search” with the name typed into its prompt, the pointer over the frame
/// that was found, a click that zooms into it. What a reader then sees is
/// written into attributes of the document.
const SCRIPT: &str = r##"<script type="text/ecmascript"><![CDATA[
window.addEventListener("load", function () {
  setTimeout(function () {
    var root = document.documentElement;
    var seen = function (id) { return document.getElementById(id).textContent; };
    try {
      window.prompt = function () { return "is_known"; };
      document.getElementById("search").dispatchEvent(new MouseEvent("click", {bubbles: true}));
      root.setAttribute("data-matched", seen("matched"));
      var hits = Array.from(document.querySelectorAll("#frames rect"))
        .filter(function (r) { return r.getAttribute("fill") === searchcolor; });
      root.setAttribute("data-hits", hits.length);
      var widest = hits.sort(function (a, b) { return b.getBBox().width - a.getBBox().width; })[0];
      widest.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
      root.setAttribute("data-details", seen("details"));
      widest.dispatchEvent(new MouseEvent("click", {bubbles: true}));
      root.setAttribute("data-zoomed", widest.getAttribute("width"));
      root.setAttribute("data-label", widest.parentNode.querySelector("text").textContent.trim());
    } catch (error) {
      root.setAttribute("data-error", String(error));
    }
  }, 0);
});
]]></script>"##;

/// A search for the hottest function finds it and names its share; the pointer
/// over it shows its numbers; a click zooms to it.
#[test]
fn search_finds_the_hottest_function() {
    let Some(chromium) = find_chromium() else {
        return;
    };
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shop/input.txt");
    let (profile, style) = describe(&fs::read_to_string(case).unwrap());
    let hottest = profile.hottest(1)[0];
    assert_eq!(profile.string(hottest.frame.name), "is_known");

    let svg = render(&profile, Format::Flamegraph, &style);
    let end = svg.rfind("</svg>").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("flame.svg");
    fs::write(&page, format!("{}{SCRIPT}{}", &svg[..end], &svg[end..])).unwrap();

    let dom = dump_dom(&chromium, &page, dir.path());
    let seen = |name: &str| attribute(&dom, name);
    assert_eq!(seen("data-error"), None, "{dom:.600}");
    // Of 864 samples 611 were in this function, at two lines.
    assert_eq!(seen("data-matched"), Some("Matched: 70.7%"));
    assert_eq!(seen("data-hits"), Some("2"));
    let details = "Function: Orders.is_known (orders.py:19) (600 samples, 69.44%)";
    assert_eq!(seen("data-details"), Some(details));
    assert_eq!(seen("data-zoomed"), Some("100.0000%"));
    assert_eq!(seen("data-label"), Some("Orders.is_known (orders.py:19)"));
}

/// Where Chromium is, or `None` if the test is to be left out.
fn find_chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|file| file.is_file());
    if found.is_some() {
        return found;
    }
    let ci = env::var_os("CI").is_some_and(|ci| ci == "true");
    let skip = env::var_os("FIREFINCH_SKIP_BROWSER").is_some();
    assert!(
        skip && !ci,
        "no Chromium on PATH. On Debian: apt-get install chromium. \
         To go without: FIREFINCH_SKIP_BROWSER=1 (not in CI)."
    );
    // Not captured by the test harness, unlike what `eprintln!` writes.
    let line = "NOT TESTED: flame graphs in a browser (FIREFINCH_SKIP_BROWSER is set)\n";
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    None
}

/// The document after its scripts have run, as text.
fn dump_dom(chromium: &Path, page: &Path, dir: &Path) -> String {
    let mut child = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .args(["--disable-extensions", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .args(["--window-size=1200,800", "--virtual-time-budget=2000"])
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut dom = String::new();
    let mut out = child.stdout.take().unwrap();
    out.read_to_string(&mut dom).unwrap();
    assert!(child.wait().unwrap().success());
    dom
}

/// The value of an attribute of the root element.
fn attribute<'a>(dom: &'a str, name: &str) -> Option<&'a str> {
    let start = dom.find(&format!("{name}=\""))? + name.len() + 2;
    let length = dom[start..].find('"')?;
    Some(&dom[start..start + length])
}
