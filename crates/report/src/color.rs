use inferno::flamegraph::color::Color;

use crate::origin::Origin;

/// A shade of the origin's colour, chosen by the function's name: a function
/// looks the same in every picture, and neighbours can be told apart. All are
/// light enough for black text.
pub(crate) fn color(origin: Origin, name: &str) -> Color {
    let (hue, spread, saturation, lightness) = match origin {
        Origin::Application => (10.0, 28.0, 0.86, 0.66),
        Origin::Library => (200.0, 18.0, 0.58, 0.72),
        Origin::Standard => (88.0, 36.0, 0.38, 0.70),
        Origin::Native => (258.0, 26.0, 0.42, 0.78),
        Origin::Kernel => (318.0, 18.0, 0.42, 0.78),
        Origin::Label => (220.0, 0.0, 0.06, 0.84),
    };
    let hash = hash(name);
    // Two independent bytes of the hash, as fractions of 1.
    let [shift, shade] = hash.map(|byte| f64::from(byte) / 255.0);
    from_hsl(hue + spread * shift, saturation, lightness + 0.07 * shade)
}

/// The colour in the middle of an origin's shades, for the legend.
pub(crate) fn typical(origin: Origin) -> Color {
    match origin {
        Origin::Application => from_hsl(24.0, 0.86, 0.66),
        Origin::Library => from_hsl(209.0, 0.58, 0.70),
        Origin::Standard => from_hsl(106.0, 0.38, 0.66),
        Origin::Native => from_hsl(271.0, 0.42, 0.74),
        Origin::Kernel => from_hsl(327.0, 0.42, 0.74),
        Origin::Label => from_hsl(220.0, 0.06, 0.80),
    }
}

/// FNV-1a, folded: small, and the same on every machine and in every version.
fn hash(name: &str) -> [u8; 2] {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    [a ^ c ^ e ^ g, b ^ d ^ f ^ h]
}

/// A colour from hue (degrees), saturation and lightness (0 to 1).
fn from_hsl(hue: f64, saturation: f64, lightness: f64) -> Color {
    let strength = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f64| {
        let k = (offset + hue / 30.0).rem_euclid(12.0);
        let value = lightness - strength * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        // A float converts to an integer with saturation: never out of range.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let byte = (value * 255.0).round() as u8;
        byte
    };
    Color::new(channel(0.0), channel(8.0), channel(4.0))
}
