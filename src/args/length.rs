use std::time::Duration;

/// How long to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Unlimited,
    Limited(Duration),
}

pub(super) fn parse_duration(text: &str) -> Result<Length, String> {
    if text == "unlimited" {
        return Ok(Length::Unlimited);
    }
    let seconds = text.parse::<f64>().ok();
    let duration = match seconds {
        Some(seconds) if seconds.is_nan() => return Err("it is not a number".to_owned()),
        Some(seconds) if seconds <= 0.0 => Duration::ZERO,
        Some(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|_| "it is too long; unlimited is a word that is understood".to_owned())?,
        None => humantime::parse_duration(text)
            .map_err(|_| "it is neither seconds nor a time like 1m30s".to_owned())?,
    };
    if duration.is_zero() {
        return Err("it must be more than zero".to_owned());
    }
    Ok(Length::Limited(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds, py-spy's word and compound times are understood; nonsense is not.
    #[test]
    fn durations() {
        let limited = |s| Ok(Length::Limited(Duration::from_secs_f64(s)));
        assert_eq!(parse_duration("30"), limited(30.0));
        assert_eq!(parse_duration("0.5"), limited(0.5));
        assert_eq!(parse_duration("1m30s"), limited(90.0));
        assert_eq!(parse_duration("unlimited"), Ok(Length::Unlimited));
        for wrong in ["0", "-1", "0s", "soon", "nan", "inf", "1e300", ""] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
