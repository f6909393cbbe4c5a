use firefinch_profile::Losses;

use crate::grouped;

/// How many samples were lost, and why, the most frequent reason first:
/// `12 lost (9 torn, 3 no frames)`.
pub fn lost(losses: &Losses) -> String {
    let lost = format!("{} lost", grouped(losses.total()));
    let reasons: Vec<String> = losses
        .by_count()
        .into_iter()
        .map(|(reason, count)| format!("{} {}", grouped(count), reason.keyword()))
        .collect();
    if reasons.is_empty() {
        return lost;
    }
    format!("{lost} ({})", reasons.join(", "))
}
