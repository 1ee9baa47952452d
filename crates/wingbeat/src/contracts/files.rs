//! The files of contracts, from the description of a system.

use std::collections::{BTreeMap, BTreeSet};

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wingbeat_core::{Kind, MessageType, Name};

use super::{ASYNCAPI, Break, Contracts, MESSAGES, OPENAPI, STORED};
use crate::describe::{
    Info, ServiceDescription, StoredKind, StoredName, StoredType, System, asyncapi, openapi,
};

/// The keyword with the facts that a schema does not express.
pub(super) const FACTS: &str = "x-wingbeat";

/// The facts about a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MessageFacts {
    /// `event` or `command`.
    pub(super) kind: String,
    /// It stays within its service.
    pub(super) internal: bool,
    /// The services that publish or send it, as far as they declare it.
    pub(super) publishers: BTreeSet<String>,
    /// The queues to which it is routed.
    pub(super) consumers: BTreeSet<String>,
}

/// The facts about stored data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredFacts {
    /// The service that stores it.
    pub(super) service: String,
    /// One of [`StoredKind`], or `timer`.
    pub(super) kind: String,
    /// The name under which it is stored.
    pub(super) name: String,
    /// The number of upcasts of events, or the shape of a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) form: Option<u32>,
    /// The form in which events are written, if it is an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) writes: Option<u32>,
}

/// The kind of timers.
pub(super) const TIMER: &str = "timer";

/// Returns the contracts of a system.
pub(super) fn of(system: &System, info: &Info) -> Contracts {
    let mut contracts = Contracts::default();
    let files = &mut contracts.files;
    files.insert(ASYNCAPI.into(), asyncapi(system, info));
    files.insert(OPENAPI.into(), openapi(system, info));
    for (message, facts) in messages(system) {
        let path = format!("{MESSAGES}/{}.json", message.name);
        contracts.add(path, &facts, |schemas| message.schema_in(schemas));
    }
    for service in system.services() {
        for stored in &service.stored {
            contracts.add_stored(service.name, stored);
        }
        for timer in &service.timers {
            let facts = StoredFacts {
                service: service.name.to_string(),
                kind: TIMER.into(),
                name: timer.name.into(),
                form: None,
                writes: None,
            };
            contracts.add(path(&facts), &facts, |schemas| timer.schema_in(schemas));
        }
        contracts.undescribed.extend(undescribed(service));
    }
    contracts
}

impl Contracts {
    fn add_stored(&mut self, service: Name, stored: &StoredType) {
        let form = stored.form.map(|form| form());
        let writes = stored.writes.map(|form| form());
        let facts = StoredFacts {
            service: service.to_string(),
            kind: stored.of.kind.as_str().into(),
            name: stored.of.name.into(),
            form,
            writes: writes.filter(|it| Some(*it) < form),
        };
        self.add(path(&facts), &facts, |schemas| {
            stored.schema.schema_in(schemas)
        });
    }

    /// Adds the schemas of one type: for reading, and for writing.
    fn add(
        &mut self,
        path: String,
        facts: &impl Serialize,
        schema: impl Fn(&mut SchemaGenerator) -> schemars::Schema,
    ) {
        let settings = SchemaSettings::draft2020_12();
        let written = whole(settings.clone().for_serialize(), &schema);
        let mut read = whole(settings, &schema);
        let facts = serde_json::to_value(facts).unwrap_or_default();
        read[FACTS] = facts;
        self.written.insert(path.clone(), written);
        self.files.insert(path, read);
    }
}

/// Returns a schema with all definitions that it refers to.
pub(super) fn whole(
    settings: SchemaSettings,
    schema: impl Fn(&mut SchemaGenerator) -> schemars::Schema,
) -> Value {
    let mut generator = settings.into_generator();
    let schema = schema(&mut generator);
    let mut whole = match schema.to_value() {
        Value::Object(keywords) => Value::Object(keywords),
        // `true`, the schema of any value, has no room for facts.
        _ => Value::Object(Default::default()),
    };
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        whole["$defs"] = definitions.into();
    }
    whole
}

/// The path of stored data.
fn path(facts: &StoredFacts) -> String {
    format!(
        "{STORED}/{}/{}.{}.json",
        facts.service, facts.kind, facts.name
    )
}

/// Returns all messages, those within a service too, with their publishers and consumers.
fn messages(system: &System) -> Vec<(MessageType, MessageFacts)> {
    let mut all = BTreeMap::<&str, (MessageType, MessageFacts)>::new();
    let mut facts = |message: &MessageType, add: &dyn Fn(&mut MessageFacts)| {
        let entry = all.entry(message.name).or_insert_with(|| {
            let kind = match message.kind {
                Kind::Event => "event",
                Kind::Command => "command",
            };
            let facts = MessageFacts {
                kind: kind.into(),
                internal: message.internal,
                ..MessageFacts::default()
            };
            (*message, facts)
        });
        add(&mut entry.1);
    };
    for service in system.services() {
        let name = service.name.as_str();
        for message in &service.publishes {
            facts(message, &|it| {
                it.publishers.insert(name.to_owned());
            });
        }
        for subscription in &service.subscriptions {
            let queue = subscription.queue.as_str();
            for message in &subscription.takes {
                facts(message, &|it| {
                    it.consumers.insert(queue.to_owned());
                });
            }
        }
    }
    all.into_values().collect()
}

/// Returns the stored data that a service uses and does not describe.
fn undescribed(service: &ServiceDescription) -> Vec<Break> {
    let described: BTreeSet<StoredName> = service.stored.iter().map(|it| it.of).collect();
    let of_routes = service.operations.iter().flat_map(|it| &it.request.uses);
    let used: BTreeSet<StoredName> = service.uses.iter().chain(of_routes).copied().collect();
    let missing = used.into_iter().filter(|it| !described.contains(it));
    missing.map(|it| without_schema(service.name, it)).collect()
}

fn without_schema(service: Name, used: StoredName) -> Break {
    let StoredName { kind, name } = used;
    let kind = match kind {
        StoredKind::Events | StoredKind::Snapshot => "aggregate",
        kind => kind.as_str(),
    };
    Break {
        subject: format!("{service} stores the {kind} `{name}`"),
        differences: vec!["its type has no schema, so changes of it are not noticed".into()],
        affected: Vec::new(),
        advice: format!(
            "derive `JsonSchema` for its type, and add `.stores(Stored::{kind}::<..>())` to the \
             service"
        ),
    }
}
