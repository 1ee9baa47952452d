//! The products of the fake shop.

use serde_json::{Value, json};

/// Returns an amount in the form of the API.
pub(crate) fn eur(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

pub(crate) fn products() -> Vec<Value> {
    const SEED: [(&str, &str, &str, i64, i64); 13] = [
        (
            "WB-BELL-01",
            "Bellbird Bicycle Bell",
            "Solid brass. One clear note that carries across a square.",
            2450,
            1000,
        ),
        (
            "WB-CAMP-02",
            "Campion Enamel Mug",
            "Holds 350 ml and takes a fall. Speckled like a wren's egg.",
            1490,
            2400,
        ),
        (
            "WB-CHAT-03",
            "Whinchat Notebook",
            "Dotted, 192 pages, lies flat. The paper likes fountain pens.",
            1290,
            1800,
        ),
        (
            "WB-DIPP-04",
            "Dipper Rain Jacket",
            "Three layers, two-way zip, folds into its own pocket.",
            18900,
            1000,
        ),
        (
            "WB-HERN-05",
            "Heron Desk Lamp",
            "A long neck, a warm light, and no hurry. Dims with a touch.",
            12900,
            8,
        ),
        (
            "WB-KEST-06",
            "Kestrel Kite",
            "Hovers in a light wind. Comes with 60 m of line.",
            3990,
            1000,
        ),
        (
            "WB-KING-07",
            "Kingfisher Kettle",
            "Pours exactly where you look. Enamelled steel, 0.9 l.",
            8450,
            1250,
        ),
        (
            "WB-LARK-08",
            "Skylark Alarm Clock",
            "Starts quietly and means it. Runs two years on one cell.",
            4990,
            1000,
        ),
        (
            "WB-MART-09",
            "Martin Wall Hooks",
            "Set of five in oiled oak. Each holds eight kilos.",
            2790,
            0,
        ),
        (
            "WB-OWL-10",
            "Tawny Night Light",
            "Glows for thirty minutes, then turns its head away.",
            3450,
            1000,
        ),
        (
            "WB-SWFT-11",
            "Swift Running Cap",
            "38 grams. Sheds rain, dries on your head.",
            2990,
            3100,
        ),
        (
            "WB-TERN-12",
            "Arctic Tern Daypack",
            "22 litres for a long way. Recycled sailcloth.",
            11900,
            1000,
        ),
        (
            "WB-WREN-13",
            "Wren Pocket Radio",
            "Smaller than it sounds. FM, DAB and a proper dial.",
            6990,
            1000,
        ),
    ];
    SEED.iter()
        .map(|(sku, name, description, price, available)| {
            json!({
                "sku": sku, "name": name, "description": description,
                "price": eur(*price), "available": available,
            })
        })
        .collect()
}
