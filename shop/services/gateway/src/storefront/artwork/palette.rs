//! The colour palettes, named after birds.

/// A palette of five colours.
pub(super) struct Palette {
    /// The background.
    pub(super) ground: &'static str,
    /// The colours of feathers, from dark to light.
    pub(super) feathers: [&'static str; 3],
    /// The accent colour, used sparingly.
    pub(super) flash: &'static str,
}

pub(super) const PALETTES: [Palette; 7] =
    [KINGFISHER, BULLFINCH, JAY, GOLDFINCH, HOOPOE, MALLARD, TERN];

const KINGFISHER: Palette = Palette {
    ground: "#cfe8ea",
    feathers: ["#0b4f63", "#12889a", "#4fc0c6"],
    flash: "#f2742b",
};
const BULLFINCH: Palette = Palette {
    ground: "#f3dcd6",
    feathers: ["#2b2f3a", "#b8473f", "#e98a76"],
    flash: "#f7f1ee",
};
const JAY: Palette = Palette {
    ground: "#e9ddd6",
    feathers: ["#23303f", "#3f7fc4", "#9cc7ea"],
    flash: "#c98f73",
};
const GOLDFINCH: Palette = Palette {
    ground: "#f6ecc9",
    feathers: ["#3a3027", "#b98a3e", "#f0c33c"],
    flash: "#c2352b",
};
const HOOPOE: Palette = Palette {
    ground: "#f7e0cd",
    feathers: ["#1f2426", "#d88a57", "#fbf3ea"],
    flash: "#8a3f24",
};
const MALLARD: Palette = Palette {
    ground: "#dfe9dc",
    feathers: ["#15443a", "#2f7d62", "#9fbfa4"],
    flash: "#e9b824",
};
const TERN: Palette = Palette {
    ground: "#dde5ee",
    feathers: ["#27364d", "#7189a8", "#f6f9fc"],
    flash: "#e2483d",
};
