//! The input of documents: the parts of a system that they describe.

use std::collections::BTreeMap;

use wingbeat_core::{Kind, MessageType, Name};

use super::{Operation, StoredName, StoredType};

/// The title, version and description at the head of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The system's name.
    pub title: String,
    /// The version of its interface.
    pub version: String,
    /// An introduction, in Markdown.
    pub description: String,
}

impl Info {
    /// Creates a head without a description.
    #[must_use]
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            version: version.into(),
            description: String::new(),
        }
    }

    /// Adds an introduction, in Markdown.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }
}

/// The services of a system, and the routes that belong to no service. An `&App` converts into it.
#[derive(Clone, Debug, Default)]
pub struct System {
    pub(super) services: Vec<ServiceDescription>,
    pub(super) operations: Vec<Operation>,
}

impl System {
    /// Creates a system of these services.
    #[must_use]
    pub fn new(services: Vec<ServiceDescription>) -> Self {
        Self {
            services,
            operations: Vec::new(),
        }
    }

    /// Adds routes that belong to no service.
    #[must_use]
    pub fn operations(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.operations.extend(operations);
        self
    }

    /// Returns the services.
    #[must_use]
    pub fn services(&self) -> &[ServiceDescription] {
        &self.services
    }

    /// Returns the types of all messages that services exchange, by name. Messages that are
    /// internal to a service are left out.
    #[must_use]
    pub fn messages(&self) -> Vec<MessageType> {
        let services = self.services.iter();
        let all = services.flat_map(|service| {
            let taken = service.subscriptions.iter().flat_map(|it| &it.takes);
            taken.chain(&service.publishes)
        });
        let by_name: BTreeMap<_, _> = all
            .filter(|message| !message.internal)
            .map(|message| (message.name, *message))
            .collect();
        by_name.into_values().collect()
    }
}

impl From<&System> for System {
    fn from(system: &System) -> Self {
        system.clone()
    }
}

/// The messages and routes of one service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceDescription {
    /// The service's name.
    pub name: Name,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionDescription>,
    /// The types of the messages that it publishes or sends.
    pub publishes: Vec<MessageType>,
    /// Its HTTP routes.
    pub operations: Vec<Operation>,
    /// The types of its stored data.
    pub stored: Vec<StoredType>,
    /// The timers of its sagas.
    pub timers: Vec<MessageType>,
    /// The stored data that its handlers, sagas and calls use; that of routes is part of their
    /// operations.
    pub uses: Vec<StoredName>,
    /// The requests that the service asks.
    pub asks: Vec<MessageType>,
    /// The requests that the service answers.
    pub answers: Vec<MessageType>,
}

impl ServiceDescription {
    /// Creates the description of a service without messages and routes.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            subscriptions: Vec::new(),
            publishes: Vec::new(),
            operations: Vec::new(),
            stored: Vec::new(),
            timers: Vec::new(),
            uses: Vec::new(),
            asks: Vec::new(),
            answers: Vec::new(),
        }
    }
}

impl ServiceDescription {
    /// Returns the commands that the service sends, to others and to itself.
    pub fn commands(&self) -> impl Iterator<Item = &MessageType> {
        let taken = self.subscriptions.iter().flat_map(|it| &it.takes);
        let internal = taken.filter(|it| it.internal);
        let sent = self.publishes.iter().chain(internal);
        sent.filter(|it| it.kind == Kind::Command)
    }
}

/// A queue and the messages that are routed to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscriptionDescription {
    /// The queue.
    pub queue: Name,
    /// The types of the messages.
    pub takes: Vec<MessageType>,
}
