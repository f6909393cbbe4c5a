use std::io::{IsTerminal, stderr};
use std::time::Duration;

use firefinch_profile::Profile;
use firefinch_report::{Style, frame_label, grouped};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::printable;

/// One line on the terminal, of a message alone; hidden unless standard error is one.
pub(crate) fn one_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{wide_msg}");
    bar.set_style(style.unwrap_or(ProgressStyle::default_spinner()));
    bar
}

/// One line on the terminal that says how the recording goes.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    bar: ProgressBar,
    /// When it was last drawn, since the recording began.
    shown: Duration,
}

const INTERVAL: Duration = Duration::from_millis(250);

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self {
            bar: one_line(),
            shown: Duration::ZERO,
        }
    }

    pub(crate) fn update(&mut self, elapsed: Duration, profile: &Profile, style: &Style) {
        if self.bar.is_hidden() || elapsed.saturating_sub(self.shown) < INTERVAL {
            return;
        }
        self.shown = elapsed;
        let hottest = profile.hottest(1);
        let hottest = hottest
            .first()
            .map_or_else(String::new, |hot| frame_label(profile, style, &hot.frame));
        self.bar.set_message(format!(
            "{:.1} s · {} samples · {} lost · {}",
            elapsed.as_secs_f64(),
            grouped(profile.sample_count()),
            grouped(profile.losses().total()),
            printable(&hottest),
        ));
        self.bar.tick();
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
