//! The map of a system: its services in a ring, and arrows from publishers to subscribers.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use crate::describe::System;

/// More services than this are listed, not drawn.
const NODES_MAX: usize = 24;
/// The number of colours of nodes.
const COLOURS: usize = 10;
/// The drawing for wide windows.
const WIDE: Shape = Shape {
    class: "wide",
    size: (980.0, 560.0),
    radii: (395.0, 232.0),
    half_height: 25.0,
    letter: 4.6,
    in_rows: false,
};
/// The drawing for phones: upright, with larger letters.
const TALL: Shape = Shape {
    class: "tall",
    size: (460.0, 800.0),
    radii: (136.0, 356.0),
    half_height: 28.0,
    letter: 5.1,
    in_rows: true,
};

/// The measures of a drawing.
struct Shape {
    class: &'static str,
    size: (f64, f64),
    /// The radii of the ring.
    radii: (f64, f64),
    /// Half of a node's height.
    half_height: f64,
    /// Half of a letter's width.
    letter: f64,
    /// Each node has a row of its own, because two do not fit beside each other.
    in_rows: bool,
}

/// The services of a system and the messages between them.
pub(super) struct Map {
    /// The names of the services, around the ring.
    pub(super) services: Vec<String>,
    /// The pairs of services of which one publishes to the other.
    pub(super) routes: Vec<Route>,
    /// One drawing for wide windows and one for phones; none of a large system.
    pub(super) drawings: Vec<Drawing>,
}

/// The messages from one service to another.
pub(super) struct Route {
    pub(super) from: String,
    pub(super) to: String,
    /// The wire types.
    pub(super) messages: Vec<&'static str>,
}

/// A picture of the map.
pub(super) struct Drawing {
    pub(super) class: &'static str,
    /// The `viewBox` of the SVG.
    pub(super) view: String,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

/// A service in a drawing.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) colour: usize,
    x: f64,
    y: f64,
    half_width: f64,
    half_height: f64,
}

/// An arrow in a drawing.
pub(super) struct Edge {
    /// The index of its route.
    pub(super) route: usize,
    pub(super) colour: usize,
    /// The line, as data of an SVG path.
    pub(super) line: String,
    /// The head, as points of an SVG polygon.
    pub(super) head: String,
}

impl Map {
    /// Draws the map of a system.
    pub(super) fn of(system: &System) -> Self {
        let links = links(system);
        let names = system.services().iter().map(|it| it.name.as_str());
        let names: BTreeSet<&str> = names.collect();
        let is_drawn = (2..=NODES_MAX).contains(&names.len());
        let names: Vec<&str> = names.into_iter().collect();
        let colours: BTreeMap<&str, usize> =
            names.iter().copied().zip((0..COLOURS).cycle()).collect();
        let ring = if is_drawn {
            arranged(names, &links.keys().copied().collect::<Vec<_>>())
        } else {
            names
        };
        let route = |((from, to), messages): ((&str, &str), BTreeSet<&'static str>)| Route {
            from: from.to_owned(),
            to: to.to_owned(),
            messages: messages.into_iter().collect(),
        };
        let routes: Vec<Route> = links.into_iter().map(route).collect();
        let shapes = [WIDE, TALL].into_iter().filter(|_| is_drawn);
        let drawings = shapes.map(|shape| shape.draw(&ring, &colours, &routes));
        let drawings = drawings.collect();
        let services = ring.into_iter().map(str::to_owned).collect();
        Self {
            services,
            routes,
            drawings,
        }
    }

    /// Returns the route of an arrow.
    pub(super) fn route(&self, edge: &Edge) -> &Route {
        &self.routes[edge.route]
    }
}

impl Shape {
    fn draw(&self, ring: &[&str], colours: &BTreeMap<&str, usize>, routes: &[Route]) -> Drawing {
        let place = |(index, name): (usize, &&str)| {
            let (right, down) = self.place(index, ring.len());
            Node {
                name: (*name).to_owned(),
                colour: colours.get(name).copied().unwrap_or_default(),
                x: self.size.0 / 2.0 + self.radii.0 * right,
                y: self.size.1 / 2.0 + self.radii.1 * down,
                half_width: 20.0 + self.letter * name.chars().count().max(9) as f64,
                half_height: self.half_height,
            }
        };
        let nodes: Vec<Node> = ring.iter().enumerate().map(place).collect();
        let found = |name: &str| nodes.iter().find(|node| node.name == name);
        let edges = routes.iter().enumerate().filter_map(|(route, it)| {
            let (line, head) = self.arrow(found(&it.from)?, found(&it.to)?);
            Some(Edge {
                route,
                colour: colours.get(it.from.as_str()).copied().unwrap_or_default(),
                line,
                head,
            })
        });
        Drawing {
            class: self.class,
            view: format!("0 0 {} {}", self.size.0, self.size.1),
            edges: edges.collect(),
            nodes,
        }
    }

    /// Returns the place of a node between -1 and 1 in both directions. The ring starts at the top
    /// and goes down on the right.
    fn place(&self, index: usize, count: usize) -> (f64, f64) {
        if !self.in_rows {
            let angle = TAU * (index as f64 / count as f64 - 0.25);
            return (angle.cos(), angle.sin());
        }
        let (row, side) = match index {
            0 => (0, 1.0),
            _ if index <= count / 2 => (2 * index - 1, 1.0),
            _ => (2 * (count - index), -1.0),
        };
        let down = row as f64 / (count - 1).max(1) as f64;
        (
            side * (TAU / 2.0 * down).sin().max(0.0).sqrt(),
            2.0 * down - 1.0,
        )
    }

    /// Returns the line and the head of an arrow that bends towards the middle of the ring. The
    /// arrow back bends beside it.
    fn arrow(&self, from: &Node, to: &Node) -> (String, String) {
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let length = dx.hypot(dy).max(1.0);
        let (bend, beside) = (0.42, 16.0);
        let control = (
            (from.x + to.x) / 2.0 * (1.0 - bend) + self.size.0 / 2.0 * bend - dy / length * beside,
            (from.y + to.y) / 2.0 * (1.0 - bend) + self.size.1 / 2.0 * bend + dx / length * beside,
        );
        let (start, tip) = (from.rim(control, 2.0), to.rim(control, 4.0));
        let (ux, uy) = (tip.0 - control.0, tip.1 - control.1);
        let size = ux.hypot(uy).max(1.0);
        let (ux, uy) = (ux / size, uy / size);
        let back = (tip.0 - 11.0 * ux, tip.1 - 11.0 * uy);
        let line = format!(
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
        (line, head)
    }
}

impl Node {
    pub(super) fn place(&self) -> String {
        format!("translate({:.1} {:.1})", self.x, self.y)
    }

    /// Returns the attributes `x`, `y`, `width` and `height` of its box.
    pub(super) fn outline(&self) -> [String; 4] {
        let (width, height) = (self.half_width, self.half_height);
        [-width, -height, 2.0 * width, 2.0 * height].map(|it| format!("{it:.1}"))
    }

    /// Returns the point at the rim in the direction of another point.
    fn rim(&self, towards: (f64, f64), gap: f64) -> (f64, f64) {
        let (dx, dy) = (towards.0 - self.x, towards.1 - self.y);
        let reach = |half: f64, distance: f64| (half + gap) / distance.abs().max(0.01);
        let scale = reach(self.half_width, dx).min(reach(self.half_height, dy));
        (self.x + dx * scale.min(1.0), self.y + dy * scale.min(1.0))
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
fn arranged<'a>(mut ring: Vec<&'a str>, links: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let count = ring.len();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_talk_to_each_other_stand_close() {
        let ring = arranged(
            vec!["a", "b", "c", "d", "e", "f"],
            &[("a", "d"), ("d", "f")],
        );
        let place = |name| ring.iter().position(|it| *it == name).expect("it is there");
        let apart = |a, b| {
            let distance = place(a).abs_diff(place(b));
            distance.min(6 - distance)
        };
        assert_eq!((apart("a", "d"), apart("d", "f")), (1, 1), "{ring:?}");
    }

    #[test]
    fn each_node_of_the_upright_drawing_has_a_row_of_its_own() {
        for count in 2..=NODES_MAX {
            let mut rows: Vec<f64> = (0..count).map(|index| TALL.place(index, count).1).collect();
            rows.sort_by(f64::total_cmp);
            let step = 2.0 / (count - 1) as f64;
            let is_even = rows
                .windows(2)
                .all(|pair| (pair[1] - pair[0] - step).abs() < 1e-9);
            assert!(is_even, "{count}: {rows:?}");
        }
    }

    #[test]
    fn a_system_without_services_has_an_empty_map() {
        let map = Map::of(&System::default());
        assert!(map.services.is_empty() && map.routes.is_empty() && map.drawings.is_empty());
    }
}
