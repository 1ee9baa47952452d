//! Definitions for RabbitMQ: the topology of a system, and a user for each of its processes that
//! may do no more than it needs.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};
use wingbeat_core::{Kind, Name, Topology, dialog};

use crate::Config;
use crate::register;
use crate::topology::{Names, plan, with_partitions};

/// A user of RabbitMQ: a service of the system, or another process of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the user. A service has its own name, which its queues and the types of its
    /// events begin with.
    pub name: String,
    /// The hash of the password in the form of `rabbitmqctl hash_password`. A template may contain
    /// another text, which a later step replaces.
    pub password_hash: String,
    /// Set for a service. Other processes may neither publish nor consume.
    pub is_service: bool,
    /// Set if the service sends commands to others or to itself.
    pub sends_commands: bool,
    /// Set if the service asks requests: it declares and consumes a reply queue for each of its
    /// processes.
    pub asks: bool,
    /// Set if the service answers requests: it publishes to the exchange of replies.
    pub answers: bool,
}

/// Returns the definitions, as `rabbitmqctl import_definitions` and `load_definitions` read them:
/// every exchange, queue and binding, and the users with their permissions in the virtual host `/`.
///
/// A user may consume from the queues of its service, read the register of all queues, publish to
/// the exchange of events under the names of its own events, and publish to the exchange of
/// commands if it sends any. A service with partitions may write to its own ones. One that answers
/// requests may publish to the exchange of replies; one that asks them may declare queues with
/// names of reply queues of its service, and bind them to that exchange. It declares nothing else:
/// import the definitions of a new release before its processes start.
#[must_use]
pub fn definitions(config: &Config, topology: &Topology, users: &[User]) -> Value {
    let names = Names::new(config);
    let (exchanges, queues) = plan(&names, topology);
    let vhost = "/";
    let exchange_list = exchanges.iter().map(|exchange| {
        let kind = match &exchange.kind {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            _ => "topic",
        };
        json!({
            "name": exchange.name, "vhost": vhost, "type": kind, "durable": true,
            "auto_delete": false, "internal": false, "arguments": {},
        })
    });
    let registers = [(names.register(), register::arguments())];
    let all = queues.iter().map(|it| (&it.name, &it.arguments));
    let all = all.chain(registers.iter().map(|(name, arguments)| (name, arguments)));
    let queue_list = all.map(|(name, of_queue)| {
        json!({
            "name": name, "vhost": vhost, "durable": true, "auto_delete": false,
            "arguments": arguments(of_queue),
        })
    });
    let bindings = queues.iter().flat_map(|queue| {
        let bindings = queue.bindings.iter();
        bindings.map(|(exchange, key)| {
            json!({
                "source": exchange, "vhost": vhost, "destination": queue.name,
                "destination_type": "queue", "routing_key": key, "arguments": {},
            })
        })
    });
    let user_list = users.iter().map(|user| {
        json!({
            "name": user.name, "password_hash": user.password_hash,
            "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": [], "limits": {},
        })
    });
    let permissions = users.iter().map(|user| {
        json!({
            "user": user.name, "vhost": vhost, "configure": configure(&names, user),
            "write": write(&names, user, topology), "read": read(&names, user),
        })
    });
    let events = users.iter().map(|user| {
        let own = if user.is_service {
            format!("^{}\\.", escaped(&user.name))
        } else {
            NOTHING.to_owned()
        };
        json!({
            "user": user.name, "vhost": vhost, "exchange": names.events, "write": own,
            "read": NOTHING,
        })
    });
    json!({
        "vhosts": [{"name": vhost}],
        "users": user_list.collect::<Value>(),
        "permissions": permissions.collect::<Value>(),
        "topic_permissions": events.collect::<Value>(),
        "exchanges": exchange_list.collect::<Value>(),
        "queues": queue_list.collect::<Value>(),
        "bindings": bindings.collect::<Value>(),
    })
}

/// The pattern that matches no name.
const NOTHING: &str = "^$";

/// Returns the pattern of the reply queues of a user; `None` if it asks nothing.
fn reply_queues(names: &Names, user: &User) -> Option<String> {
    let prefix = names.reply_queue(&dialog::reply_queues(Name::intern(&user.name)));
    (user.is_service && user.asks).then(|| format!("{}.*", escaped(&prefix)))
}

fn configure(names: &Names, user: &User) -> String {
    reply_queues(names, user).map_or_else(|| NOTHING.into(), |queues| format!("^{queues}$"))
}

fn write(names: &Names, user: &User, topology: &Topology) -> String {
    if !user.is_service {
        return NOTHING.into();
    }
    let mut all = vec![escaped(&names.events)];
    all.extend(user.sends_commands.then(|| escaped(&names.commands)));
    all.extend(user.answers.then(|| escaped(&names.replies)));
    all.extend(reply_queues(names, user));
    if with_partitions(topology).contains(user.name.as_str()) {
        let kinds = [Kind::Event, Kind::Command].into_iter();
        all.extend(kinds.map(|kind| escaped(&names.partitions(&user.name, kind))));
    }
    match &all[..] {
        [only] => format!("^{only}$"),
        all => format!("^({})$", all.join("|")),
    }
}

fn read(names: &Names, user: &User) -> String {
    if !user.is_service {
        return NOTHING.into();
    }
    let queues = escaped(&names.queue_prefix(&user.name));
    let letters = escaped(&names.dead_letter_queue(&user.name));
    let register = escaped(&names.register());
    let replies = reply_queues(names, user).map_or_else(String::new, |queues| {
        format!("|{}|{queues}", escaped(&names.replies))
    });
    format!("^({queues}.*|{letters}|{register}{replies})$")
}

/// Escapes the characters of a name that have a meaning in a regular expression.
fn escaped(name: &str) -> String {
    name.replace('.', "\\.")
}

fn arguments(table: &FieldTable) -> Value {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::LongInt(number) => json!(number),
        AMQPValue::Boolean(flag) => json!(flag),
        other => unreachable!("no queue has an argument such as {other:?}"),
    };
    let all = table.inner().iter();
    let all: Map<String, Value> = all
        .map(|(name, it)| (name.to_string(), value(it)))
        .collect();
    all.into()
}

#[cfg(test)]
mod tests {
    use wingbeat_core::transport::Queue;

    use super::*;

    #[test]
    fn a_service_writes_to_its_own_partitions_only() {
        let user = |name: &str| User {
            name: name.into(),
            password_hash: String::new(),
            is_service: true,
            sends_commands: false,
            asks: false,
            answers: false,
        };
        let partition = Queue {
            bindings: Vec::new(),
            ordered: true,
        };
        let topology = Topology {
            queues: [(Name::new("meters.read.p0"), partition)].into(),
        };
        let users = [user("meters"), user("shop")];
        let found = definitions(&Config::new(""), &topology, &users);
        let write = |at: usize| found["permissions"][at]["write"].clone();
        let own = r"wingbeat\.partitions\.meters|wingbeat\.partition-commands\.meters";
        assert_eq!(write(0), format!(r"^(wingbeat\.events|{own})$"));
        assert_eq!(write(1), r"^wingbeat\.events$");
        let binding = &found["bindings"][1];
        assert_eq!(binding["source"], "wingbeat.partitions.meters");
        assert_eq!(binding["routing_key"], "meters.read.p0");
    }

    #[test]
    fn only_services_that_ask_have_reply_queues_and_only_those_that_answer_reply() {
        let user = |name: &str, asks, answers| User {
            name: name.into(),
            password_hash: String::new(),
            is_service: true,
            sends_commands: asks,
            asks,
            answers,
        };
        let users = [user("shop", true, false), user("pricing", false, true)];
        let found = definitions(&Config::new(""), &Topology::default(), &users);
        let of = |at: usize, what: &str| found["permissions"][at][what].clone();
        let own = r"wingbeat\.replies\.shop\..*";
        assert_eq!(of(0, "configure"), format!("^{own}$"));
        let write = r"wingbeat\.events|wingbeat\.commands";
        assert_eq!(of(0, "write"), format!("^({write}|{own})$"));
        let read = of(0, "read").to_string();
        assert!(
            read.contains(r"|wingbeat\\.replies|wingbeat\\.replies\\.shop\\..*)$"),
            "{read}"
        );
        assert_eq!(of(1, "configure"), NOTHING);
        assert_eq!(of(1, "write"), r"^(wingbeat\.events|wingbeat\.replies)$");
        assert!(!of(1, "read").to_string().contains("replies"));
    }
}
