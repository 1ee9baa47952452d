//! The pictures of products: abstract artwork of feathers and birds, generated from the SKU.
//!
//! A SKU gives the same bytes on all machines. It selects one of seven palettes and one of five
//! drawings, and seeds the random numbers of the drawing.

mod drawings;
mod palette;

use std::fmt::Write as _;

use palette::PALETTES;

/// The size of the picture in user units, 4:3.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 300.0;

/// Generates the picture of a SKU: an SVG document without scripts or styles.
pub(super) fn svg(sku: &str) -> String {
    let mut dice = Dice::of(sku);
    let palette = dice.pick(&PALETTES);
    let draw = dice.pick(&drawings::ALL);
    let mut canvas = Canvas::new();
    canvas.rect(palette.ground);
    draw(&mut canvas, palette, &mut dice);
    canvas.finish()
}

/// An SVG document under construction.
struct Canvas {
    body: String,
}

impl Canvas {
    fn new() -> Self {
        let body = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="xMidYMid slice">"#
        );
        Self { body }
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        self.body
            .write_fmt(element)
            .expect("a String takes every write");
    }

    fn rect(&mut self, fill: &str) {
        self.put(format_args!(
            r#"<rect width="{WIDTH}" height="{HEIGHT}" fill="{fill}"/>"#
        ));
    }

    fn circle(&mut self, x: f64, y: f64, radius: f64, fill: &str) {
        self.put(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" fill="{fill}"/>"#
        ));
    }

    fn path(&mut self, d: &str, fill: &str) {
        self.put(format_args!(r#"<path d="{d}" fill="{fill}"/>"#));
    }

    fn stroke(&mut self, d: &str, colour: &str, width: f64) {
        self.put(format_args!(
            r#"<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width:.1}" stroke-linecap="round"/>"#
        ));
    }

    /// Draws in a group that is moved to (x, y) and rotated by `degrees`.
    fn turned(&mut self, (x, y): (f64, f64), degrees: f64, draw: impl FnOnce(&mut Self)) {
        self.put(format_args!(
            r#"<g transform="translate({x:.1} {y:.1}) rotate({degrees:.1})">"#
        ));
        draw(self);
        self.body.push_str("</g>");
    }

    fn finish(mut self) -> String {
        self.body.push_str("</svg>");
        self.body
    }
}

/// A pseudorandom number generator that is seeded by a SKU: FNV-1a, then SplitMix64.
struct Dice(u64);

impl Dice {
    fn of(text: &str) -> Self {
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in `low..high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        // 32 bits convert without loss, and are precise enough for a drawing.
        let unit = f64::from((self.next() >> 32) as u32) / f64::from(u32::MAX);
        low + unit * (high - low)
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.next() % choices.len() as u64;
        &choices[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::svg;

    #[test]
    fn a_sku_always_gets_the_same_picture() {
        assert_eq!(svg("WB-1"), svg("WB-1"));
        assert_ne!(svg("WB-1"), svg("WB-2"));
    }

    #[test]
    fn the_picture_does_not_contain_the_sku() {
        assert!(!svg("<script>alert(1)</script>").contains("script"));
    }
}
