//! The five drawings. Each covers the whole canvas and varies by random numbers.

use super::{Canvas, Dice, HEIGHT, WIDTH, palette::Palette};

type Drawing = fn(&mut Canvas, &Palette, &mut Dice);

pub(super) const ALL: [Drawing; 5] = [breast, wing, quill, eyes, flock];

/// Draws rows of small rounded feathers that overlap like roof tiles, a few in the accent colour.
fn breast(canvas: &mut Canvas, palette: &Palette, dice: &mut Dice) {
    let width = dice.between(44.0, 64.0);
    let drop = width * 0.62;
    let rows = (HEIGHT / drop) as i32 + 2;
    let columns = (WIDTH / width) as i32 + 2;
    for row in (-1..rows).rev() {
        for column in -1..columns {
            let shift = if row % 2 == 0 { 0.0 } else { width / 2.0 };
            let x = f64::from(column) * width + shift;
            let y = f64::from(row) * drop;
            let (fill, rim) = tile(palette, dice, y / HEIGHT);
            canvas.path(&tongue(x, y, width, width * 1.05), rim);
            canvas.path(
                &tongue(x, y - width * 0.14, width * 0.84, width * 0.98),
                fill,
            );
        }
    }
}

/// Returns the fill and the rim of a feather: darker towards the top, with some randomness.
fn tile(palette: &Palette, dice: &mut Dice, depth: f64) -> (&'static str, &'static str) {
    let [dark, middle, light] = palette.feathers;
    if dice.between(0.0, 1.0) < 0.05 {
        return (palette.flash, dark);
    }
    match depth + dice.between(-0.25, 0.25) {
        top if top < 0.33 => (dark, middle),
        centre if centre < 0.72 => (middle, dark),
        _ => (light, middle),
    }
}

/// Returns the outline of a rounded feather: straight down, then half an ellipse.
fn tongue(x: f64, y: f64, width: f64, length: f64) -> String {
    let half = width / 2.0;
    let (left, right, shoulder) = (x - half, x + half, y + length * 0.45);
    let bend = length * 0.55;
    format!(
        "M{left:.1} {y:.1}V{shoulder:.1}A{half:.1} {bend:.1} 0 0 0 {right:.1} {shoulder:.1}V{y:.1}Z"
    )
}

/// Draws a wing that opens from a corner: long feathers, then shorter ones on top.
fn wing(canvas: &mut Canvas, palette: &Palette, dice: &mut Dice) {
    let left = dice.between(0.0, 1.0) < 0.5;
    let (corner, from, to) = if left {
        ((-20.0, 320.0), 8.0, 98.0)
    } else {
        ((420.0, 320.0), -8.0, -98.0)
    };
    let reach = dice.between(345.0, 400.0);
    let [dark, middle, light] = palette.feathers;
    let layers = [
        (reach, 9, dark),
        (reach * 0.76, 8, middle),
        (reach * 0.52, 7, light),
        (reach * 0.28, 5, palette.flash),
    ];
    for (length, count, fill) in layers {
        for index in 0..count {
            let along = f64::from(index) / f64::from(count - 1);
            let length = length * (1.0 - 0.16 * along);
            canvas.turned(corner, from + (to - from) * along, |canvas| {
                canvas.path(&vane(length, length * 0.082), palette.ground);
                canvas.path(&vane(length - 5.0, length * 0.072), fill);
            });
        }
    }
}

/// Returns the outline of a long feather that points up from the origin.
fn vane(length: f64, half: f64) -> String {
    let (neck, tip) = (length * 0.3, length);
    format!(
        "M0 0C{0:.1} -{neck:.1} -{half:.1} -{1:.1} -{half:.1} -{2:.1}C-{half:.1} -{tip:.1} {half:.1} -{tip:.1} {half:.1} -{2:.1}C{half:.1} -{1:.1} {3:.1} -{neck:.1} 0 0Z",
        -half * 0.4,
        length * 0.55,
        length * 0.86,
        half * 0.4,
    )
}

/// Draws one large barred quill across the picture.
fn quill(canvas: &mut Canvas, palette: &Palette, dice: &mut Dice) {
    let [dark, middle, light] = palette.feathers;
    let turn = dice.between(38.0, 62.0)
        * if dice.between(0.0, 1.0) < 0.5 {
            1.0
        } else {
            -1.0
        };
    let bars = dice.between(6.0, 10.0) as i32;
    canvas.circle(
        dice.between(120.0, 280.0),
        dice.between(110.0, 190.0),
        112.0,
        light,
    );
    let foot = (
        WIDTH / 2.0 - turn.to_radians().sin() * 190.0,
        HEIGHT / 2.0 + turn.to_radians().cos() * 190.0,
    );
    canvas.turned(foot, turn, |canvas| {
        canvas.path(&vane(370.0, 58.0), middle);
        for bar in 0..bars {
            let y = 120.0 + f64::from(bar) * 210.0 / f64::from(bars);
            let half = 20.0 + 32.0 * ((y - 90.0) / 260.0).clamp(0.0, 1.0);
            canvas.stroke(
                &chevron(y, half),
                if bar == bars - 2 { palette.flash } else { dark },
                9.0,
            );
        }
        canvas.stroke("M0 30V-352", palette.ground, 3.5);
    });
}

/// Returns a bar of the quill, bent towards its tip.
fn chevron(y: f64, half: f64) -> String {
    let lift = y + half * 0.7;
    format!(
        "M-{half:.1} -{lift:.1}Q0 -{:.1} 0 -{y:.1}Q0 -{:.1} {half:.1} -{lift:.1}",
        y + 4.0,
        y + 4.0
    )
}

/// Draws the eyes of a fan of tail feathers.
fn eyes(canvas: &mut Canvas, palette: &Palette, dice: &mut Dice) {
    let [dark, middle, light] = palette.feathers;
    let foot = (dice.between(150.0, 250.0), 330.0);
    for (ring, count, size) in [(300.0, 9, 40.0), (212.0, 7, 34.0), (124.0, 5, 27.0)] {
        for index in 0..count {
            let angle = -80.0 + 160.0 * f64::from(index) / f64::from(count - 1);
            canvas.turned(foot, angle, |canvas| {
                canvas.path(&vane(ring + size + 6.0, size + 5.0), palette.ground);
                canvas.path(&vane(ring + size, size), middle);
                canvas.circle(0.0, -ring + size * 0.25, size * 0.66, light);
                canvas.circle(0.0, -ring + size * 0.32, size * 0.46, palette.flash);
                canvas.circle(0.0, -ring + size * 0.42, size * 0.28, dark);
            });
        }
    }
}

/// Draws birds over hills, in front of a low sun.
fn flock(canvas: &mut Canvas, palette: &Palette, dice: &mut Dice) {
    let [dark, middle, light] = palette.feathers;
    canvas.circle(
        dice.between(90.0, 310.0),
        dice.between(105.0, 150.0),
        dice.between(58.0, 84.0),
        palette.flash,
    );
    for (base, fill) in [(206.0, light), (236.0, middle), (266.0, dark)] {
        canvas.path(&hill(base, dice), fill);
    }
    for _ in 0..dice.between(5.0, 9.0) as i32 {
        let at = (dice.between(40.0, 360.0), dice.between(36.0, 180.0));
        let span = dice.between(11.0, 25.0);
        canvas.turned(at, dice.between(-14.0, 14.0), |canvas| {
            let wings = format!(
                "M-{span:.1} -{0:.1}Q-{1:.1} -{2:.1} 0 0Q{1:.1} -{2:.1} {span:.1} -{0:.1}",
                span * 0.25,
                span * 0.35,
                span * 0.62,
            );
            canvas.stroke(&wings, dark, span * 0.17);
        });
    }
}

/// Returns a rolling ridge at about `base`, closed at the bottom.
fn hill(base: f64, dice: &mut Dice) -> String {
    let [left, first, second, right] = [0; 4].map(|_| base + dice.between(-34.0, 30.0));
    format!("M0 {left:.1}C130 {first:.1} 260 {second:.1} {WIDTH} {right:.1}V{HEIGHT}H0Z")
}
