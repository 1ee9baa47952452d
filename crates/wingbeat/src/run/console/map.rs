//! The map of a system: its services in a ring, and arrows from publishers to subscribers.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::fmt::Write as _;

use crate::describe::System;

/// The size of the drawing.
const SIZE: (f64, f64) = (980.0, 560.0);
/// The radii of the ring.
const RADII: (f64, f64) = (395.0, 232.0);
/// Half of a node's height.
const HALF_HEIGHT: f64 = 25.0;
/// More services than this are listed, not drawn.
const NODES_MAX: usize = 24;
/// The number of colours of nodes.
const COLOURS: usize = 10;

/// The services of a system and the messages between them.
pub(super) struct Map {
    /// The services, around the ring.
    pub(super) nodes: Vec<Node>,
    /// The pairs of services of which one publishes to the other.
    pub(super) edges: Vec<Edge>,
}

/// A service.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) colour: usize,
    x: f64,
    y: f64,
    half_width: f64,
}

/// The messages from one service to another.
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) colour: usize,
    /// The wire types.
    pub(super) messages: Vec<&'static str>,
    /// The line, as data of an SVG path.
    pub(super) line: String,
    /// The head of the arrow, as points of an SVG polygon.
    pub(super) head: String,
}

impl Map {
    /// Draws the map of a system.
    pub(super) fn of(system: &System) -> Self {
        let links = links(system);
        let names: BTreeSet<&str> = system
            .services()
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        let colours: BTreeMap<&str, usize> =
            names.iter().copied().zip((0..COLOURS).cycle()).collect();
        let ring = arranged(names.into_iter().collect(), links.keys().copied().collect());
        let count = ring.len() as f64;
        let place = |(index, name): (usize, &str)| {
            let angle = TAU * (index as f64 / count - 0.25);
            Node {
                name: name.to_owned(),
                colour: colours.get(name).copied().unwrap_or_default(),
                x: SIZE.0 / 2.0 + RADII.0 * angle.cos(),
                y: SIZE.1 / 2.0 + RADII.1 * angle.sin(),
                half_width: 22.0 + 4.6 * name.chars().count().max(9) as f64,
            }
        };
        let nodes: Vec<Node> = ring.into_iter().enumerate().map(place).collect();
        let found = |name: &str| nodes.iter().find(|node| node.name == name);
        let edges = links.into_iter().filter_map(|((from, to), messages)| {
            Some(arrow(
                found(from)?,
                found(to)?,
                messages.into_iter().collect(),
            ))
        });
        let edges = edges.collect();
        Self { nodes, edges }
    }

    /// Returns whether the system is small enough for a drawing.
    pub(super) fn is_drawn(&self) -> bool {
        (2..=NODES_MAX).contains(&self.nodes.len())
    }

    pub(super) fn view(&self) -> String {
        format!("0 0 {} {}", SIZE.0, SIZE.1)
    }
}

impl Node {
    pub(super) fn place(&self) -> String {
        format!("translate({:.1} {:.1})", self.x, self.y)
    }

    pub(super) fn left(&self) -> String {
        format!("{:.1}", -self.half_width)
    }

    pub(super) fn width(&self) -> String {
        format!("{:.1}", 2.0 * self.half_width)
    }
}

/// The message types from each service to each other.
fn links(system: &System) -> BTreeMap<(&str, &str), BTreeSet<&'static str>> {
    let mut links: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for publisher in system.services() {
        let sent = publisher.publishes.iter().filter(|it| !it.internal);
        let sent: BTreeSet<&'static str> = sent.map(|it| it.name).collect();
        for subscriber in system.services() {
            if subscriber.name == publisher.name {
                continue;
            }
            let taken = subscriber.subscriptions.iter().flat_map(|it| &it.takes);
            let taken: BTreeSet<_> = taken
                .map(|it| it.name)
                .filter(|name| sent.contains(name))
                .collect();
            if !taken.is_empty() {
                links.insert((publisher.name.as_str(), subscriber.name.as_str()), taken);
            }
        }
    }
    links
}

/// Orders services so that those that talk to each other stand close: swaps two as long as that
/// makes the arrows shorter.
fn arranged<'a>(mut ring: Vec<&'a str>, links: Vec<(&'a str, &'a str)>) -> Vec<&'a str> {
    let count = ring.len();
    if count > NODES_MAX {
        return ring;
    }
    let length = |ring: &[&str]| -> usize {
        let place = |name: &str| ring.iter().position(|it| *it == name).unwrap_or_default();
        let apart = |(from, to): &(&str, &str)| {
            let distance = place(from).abs_diff(place(to));
            distance.min(count - distance)
        };
        links.iter().map(apart).sum()
    };
    let mut best = length(&ring);
    let pairs: Vec<(usize, usize)> = (0..count)
        .flat_map(|a| (a + 1..count).map(move |b| (a, b)))
        .collect();
    loop {
        let before = best;
        for (a, b) in &pairs {
            ring.swap(*a, *b);
            let now = length(&ring);
            if now < best {
                best = now;
            } else {
                ring.swap(*a, *b);
            }
        }
        if best == before {
            return ring;
        }
    }
}

/// Draws an arrow that bends towards the middle of the ring. The arrow back bends beside it.
fn arrow(from: &Node, to: &Node, messages: Vec<&'static str>) -> Edge {
    let (middle_x, middle_y) = (SIZE.0 / 2.0, SIZE.1 / 2.0);
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy).max(1.0);
    let bend = 0.42;
    let control = (
        (from.x + to.x) / 2.0 * (1.0 - bend) + middle_x * bend - dy / length * 16.0,
        (from.y + to.y) / 2.0 * (1.0 - bend) + middle_y * bend + dx / length * 16.0,
    );
    let (start, tip) = (rim(from, control, 2.0), rim(to, control, 4.0));
    let (ux, uy) = (tip.0 - control.0, tip.1 - control.1);
    let size = ux.hypot(uy).max(1.0);
    let (ux, uy) = (ux / size, uy / size);
    let back = (tip.0 - 11.0 * ux, tip.1 - 11.0 * uy);
    let mut line = String::new();
    let _ = write!(
        line,
        "M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
        start.0, start.1, control.0, control.1, back.0, back.1
    );
    let head = format!(
        "{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}",
        tip.0,
        tip.1,
        back.0 - 5.0 * uy,
        back.1 + 5.0 * ux,
        back.0 + 5.0 * uy,
        back.1 - 5.0 * ux
    );
    Edge {
        from: from.name.clone(),
        to: to.name.clone(),
        colour: from.colour,
        messages,
        line,
        head,
    }
}

/// The point at the rim of a node in the direction of another point.
fn rim(node: &Node, towards: (f64, f64), gap: f64) -> (f64, f64) {
    let (dx, dy) = (towards.0 - node.x, towards.1 - node.y);
    let reach = |half: f64, distance: f64| (half + gap) / distance.abs().max(0.01);
    let scale = reach(node.half_width, dx)
        .min(reach(HALF_HEIGHT, dy))
        .min(1.0);
    (node.x + dx * scale, node.y + dy * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_talk_to_each_other_stand_close() {
        let ring = arranged(
            vec!["a", "b", "c", "d", "e", "f"],
            vec![("a", "d"), ("d", "f")],
        );
        let place = |name| ring.iter().position(|it| *it == name).expect("it is there");
        let apart = |a, b| {
            let distance = place(a).abs_diff(place(b));
            distance.min(6 - distance)
        };
        assert_eq!((apart("a", "d"), apart("d", "f")), (1, 1), "{ring:?}");
    }

    #[test]
    fn a_system_without_services_has_an_empty_map() {
        let map = Map::of(&System::default());
        assert!(map.nodes.is_empty() && map.edges.is_empty() && !map.is_drawn());
    }
}
