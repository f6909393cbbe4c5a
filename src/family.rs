use firefinch_report::grouped;
use firefinch_sampler::Census;

use crate::failure::printable;

/// What became of the processes of a tree.
pub(crate) fn family(census: &Census) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u64, one: &str, several: &str| match count {
        0 => {}
        1 => parts.push(format!("1 {one}")),
        _ => parts.push(format!("{} {several}", grouped(count))),
    };
    part(
        census.not_python,
        "is not Python (-n shows it)",
        "are not Python (-n shows them)",
    );
    let why = census.refusal.as_deref().unwrap_or_default();
    let why = format!("could not be attached to ({why})");
    part(census.refused, &why, &why);
    let brief = "ended before it was known what";
    part(
        census.brief,
        &format!("{brief} it was"),
        &format!("{brief} they were"),
    );
    let beyond = "at a time left alone: there were too many";
    part(census.beyond, beyond, beyond);
    let s = if census.met == 1 { "" } else { "es" };
    let mut text = format!(
        "{} process{s}, {} sampled",
        grouped(census.met),
        grouped(census.sampled)
    );
    for part in parts {
        text.push_str("; ");
        text.push_str(&part);
    }
    if census.is_partial {
        text.push_str("; what came later was not looked for, as firefinch failed: report this");
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what there was is said, with what can be done about it.
    #[test]
    fn what_there_was() {
        let mut census = Census {
            met: 1,
            sampled: 1,
            ..Census::default()
        };
        assert_eq!(family(&census), "1 process, 1 sampled");
        census = Census {
            met: 1_007,
            sampled: 1_002,
            not_python: 2,
            refused: 1,
            brief: 2,
            refusal: Some("EPERM".to_owned()),
            beyond: 3,
            alive: 0,
            is_partial: true,
        };
        assert_eq!(
            family(&census),
            "1,007 processes, 1,002 sampled; 2 are not Python (-n shows them); \
             1 could not be attached to (EPERM); \
             2 ended before it was known what they were; \
             3 at a time left alone: there were too many; \
             what came later was not looked for, as firefinch failed: report this"
        );
    }
}
