//! The products of the simulated shop.

/// A product of the simulation.
pub(super) struct Goods {
    pub(super) sku: &'static str,
    pub(super) price: i64,
    pub(super) units: i64,
}

/// The assortment: plenty of some products, too few of others.
pub(super) const GOODS: [Goods; 4] = [
    Goods {
        sku: "CUP-1",
        price: 990,
        units: 500,
    },
    Goods {
        sku: "POT-1",
        price: 4_995,
        units: 8,
    },
    Goods {
        sku: "RARE-1",
        price: 12_345,
        units: 4,
    },
    Goods {
        sku: "TEA-1",
        price: 450,
        units: 500,
    },
];
