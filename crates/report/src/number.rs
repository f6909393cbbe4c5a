/// The number with a comma between each three digits: `1,200`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time expressed in whole intervals, rounded, and at least one: something
/// that was seen is never nothing.
pub(crate) fn ticks(weight_ns: u64, interval_ns: u64) -> u64 {
    let interval = u128::from(interval_ns.max(1));
    let ticks = (u128::from(weight_ns) + interval / 2) / interval;
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commas stand before each group of three and nowhere else.
    #[test]
    fn groups_of_three() {
        let all = [0, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    /// Ticks are rounded to the nearest, never to zero, and never overflow.
    #[test]
    fn ticks_are_rounded() {
        assert_eq!(ticks(0, 10), 1);
        assert_eq!(ticks(14, 10), 1);
        assert_eq!(ticks(15, 10), 2);
        assert_eq!(ticks(u64::MAX, 1), u64::MAX);
    }
}
