/// Has sleeps of the calling thread end when they should. The kernel may
/// otherwise prolong each by 50 µs, to end it together with others
/// (`timer_slack_ns`, init/init_task.c).
pub fn sleep_precisely() {
    // Fails for no thread of ours; if it should, sleeps are as long as ever.
    let _ = nix::sys::prctl::set_timerslack(1);
}
