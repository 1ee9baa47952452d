//! `wingbeat graph`: who publishes what to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::arguments::GraphFormat;
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::output::{Table, field, harmless, say, say_json};

/// Prints the graph.
pub(crate) async fn run(fleet: &Fleet, format: GraphFormat, json: bool) -> Result<Exit, Failed> {
    let routes = fleet.list("/ops/graph", &["message"]).await?;
    if json {
        say_json(&json!({ "items": routes }))?;
        return Ok(Exit::Fine);
    }
    say(&match format {
        GraphFormat::Text => table(&routes),
        GraphFormat::Mermaid => mermaid(&edges(&routes)),
        GraphFormat::Dot => dot(&edges(&routes)),
    })?;
    Ok(Exit::Fine)
}

fn table(routes: &[Value]) -> String {
    let mut table = Table::new(["MESSAGE", "KIND", "PUBLISHERS", "SUBSCRIBERS"]);
    for route in routes {
        let names = |list: &str| {
            let names = texts(route, list).collect::<Vec<_>>().join(", ");
            if names.is_empty() { "-".into() } else { names }
        };
        table.row([
            field(route, "message"),
            field(route, "kind"),
            names("publishers"),
            names("subscribers"),
        ]);
    }
    table.render("There are no messages.")
}

fn texts<'a>(route: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    let names = route[list].as_array().map(Vec::as_slice);
    names.unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The publisher, the subscriber, and the messages from one to the other.
type Edges = BTreeMap<(String, String), BTreeSet<String>>;

/// Returns the edges between services. Who publishes a message is not always declared.
fn edges(routes: &[Value]) -> Edges {
    let mut edges = Edges::new();
    for route in routes {
        let message = harmless(route["message"].as_str().unwrap_or_default());
        let mut publishers: Vec<&str> = texts(route, "publishers").collect();
        if publishers.is_empty() {
            publishers.push("?");
        }
        let queues = texts(route, "subscribers");
        let services: BTreeSet<&str> = queues
            .map(|queue| queue.split('.').next().unwrap_or(queue))
            .collect();
        for publisher in publishers {
            for service in &services {
                let edge = (harmless(publisher), harmless(service));
                edges.entry(edge).or_default().insert(message.clone());
            }
        }
    }
    edges
}

fn mermaid(edges: &Edges) -> String {
    let nodes: BTreeSet<&str> = edges
        .keys()
        .flat_map(|(from, to)| [from.as_str(), to.as_str()])
        .collect();
    let number = |name: &str| nodes.iter().position(|it| *it == name).unwrap_or_default();
    let mut text = "flowchart LR\n".to_owned();
    for node in &nodes {
        let _ = writeln!(
            text,
            "    n{}[\"{}\"]",
            number(node),
            quoted(node, "#quot;")
        );
    }
    for ((from, to), messages) in edges {
        let (from, to) = (number(from), number(to));
        let label = messages.iter().cloned().collect::<Vec<_>>().join("<br>");
        let label = quoted(&label, "#quot;");
        let _ = writeln!(text, "    n{from} -->|\"{label}\"| n{to}");
    }
    text
}

fn dot(edges: &Edges) -> String {
    let mut text = "digraph system {\n    rankdir=LR;\n    node [shape=box];\n".to_owned();
    for ((from, to), messages) in edges {
        let label = messages.iter().cloned().collect::<Vec<_>>().join("\\n");
        let (from, to) = (quoted(from, "\\\""), quoted(to, "\\\""));
        let label = quoted(&label, "\\\"");
        let _ = writeln!(text, "    \"{from}\" -> \"{to}\" [label=\"{label}\"];");
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str, quote: &str) -> String {
    text.replace('"', quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Vec<Value> {
        vec![
            json!({ "message": "rooms.booked.v1", "kind": "event", "publishers": ["rooms"],
                    "subscribers": ["billing.open", "billing.count", "mail.send"] }),
            json!({ "message": "billing.paid.v1", "kind": "event", "publishers": [],
                    "subscribers": ["rooms.hold"] }),
            json!({ "message": "rooms.closed.v1", "kind": "event", "publishers": ["rooms"],
                    "subscribers": [] }),
        ]
    }

    #[test]
    fn the_text_names_every_message_also_one_without_subscriber() {
        let text = table(&routes());
        assert!(
            text.contains("rooms.closed.v1  event  rooms       -"),
            "{text}"
        );
        assert!(
            text.contains("billing.paid.v1  event  -           rooms.hold"),
            "{text}"
        );
    }

    #[test]
    fn mermaid_and_dot_have_one_arrow_for_each_pair_of_services() {
        let edges = edges(&routes());
        let text = mermaid(&edges);
        assert_eq!(text.matches("-->").count(), 3, "{text}");
        assert!(text.starts_with("flowchart LR\n"), "{text}");
        assert!(text.contains("n3 -->|\"rooms.booked.v1\"| n1"), "{text}");
        let text = dot(&edges);
        let arrow = "\"rooms\" -> \"billing\" [label=\"rooms.booked.v1\"];";
        assert!(text.contains(arrow), "{text}");
        assert!(text.contains("\"?\" -> \"rooms\""), "{text}");
    }
}
