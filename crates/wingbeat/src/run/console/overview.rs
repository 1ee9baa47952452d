//! `/console`: what needs attention first, the figures, and the map.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::future::{join, try_join5};

use super::frame::{Frame, instead, page as reply};
use super::lists::{Listed, list, or_missing};
use super::map::Map;
use super::source::read;
use super::words::{counted, encode, grouped};
use super::{Console, Refused};
use crate::run::ops::{
    Breaker, Letter, LetterPage, Schedule, Subscription, SubscriptionState, Unroutable,
};

/// The number of dead letters that are looked at. More are counted as "more than".
const LETTERS: usize = 50;
/// A subscription with this many messages that wait needs attention.
const MANY: u64 = 1_000;

/// The state of the system, as far as it could be read.
struct Seen {
    ready: Result<(), Refused>,
    subscriptions: Listed<Subscription>,
    breakers: Listed<Breaker>,
    letters: Listed<Letter>,
    more_letters: bool,
    unroutable: Listed<Unroutable>,
    schedules: Listed<Schedule>,
}

impl Seen {
    async fn of(console: &Console, visitor: &Parts) -> Result<Self, Refused> {
        let source = &*console.source;
        let letters = async {
            let path = format!("/dead-letters?limit={LETTERS}");
            let found: Result<LetterPage, Refused> = read(source, &path, visitor).await;
            let more = found
                .as_ref()
                .is_ok_and(|found| found.next_cursor.is_some());
            let found = found.map(|found| Listed {
                items: found.items,
                away: found.away,
                failed: None,
            });
            Ok::<_, Refused>((or_missing(found)?, more))
        };
        let lists = try_join5(
            list(source, "/subscriptions", visitor),
            list(source, "/breakers", visitor),
            letters,
            list(source, "/unroutable", visitor),
            list(source, "/schedules", visitor),
        );
        let (ready, lists) = join(source.ready(visitor), lists).await;
        let (subscriptions, breakers, (letters, more_letters), unroutable, schedules) = lists?;
        Ok(Self {
            ready,
            subscriptions,
            breakers,
            letters,
            more_letters,
            unroutable,
            schedules,
        })
    }

    /// Returns the services that did not answer to one of the questions.
    fn away(&self) -> Vec<String> {
        let all = [
            &self.subscriptions.away,
            &self.breakers.away,
            &self.letters.away,
            &self.unroutable.away,
            &self.schedules.away,
        ];
        let mut away: Vec<String> = all.into_iter().flatten().cloned().collect();
        away.sort();
        away.dedup();
        away
    }

    /// Returns what needs attention, the most urgent first.
    fn attention(&self) -> Vec<Attention> {
        let mut all = Vec::new();
        if let Err(why) = &self.ready {
            let text = format!("This process is not ready: {}", why.detail);
            all.push(Attention::bad(text, "/readyz"));
        }
        for service in self.away() {
            let text = format!("{service} does not answer");
            all.push(Attention::bad(text, search(&service)));
        }
        if let Some(why) = &self.subscriptions.failed {
            let text = format!("The services cannot be read: {why}");
            all.push(Attention::bad(text, "/console/subscriptions"));
        }
        self.breakers(&mut all);
        self.letters(&mut all);
        for kind in &self.unroutable.items {
            let waiting = counted(kind.waiting, "message");
            let text = format!("No queue takes {}: {waiting} in the outbox", kind.kind);
            all.push(Attention::bad(text, "/console/outside"));
        }
        self.schedules(&mut all);
        self.subscriptions(&mut all);
        all.sort_by_key(|it| it.level != "bad");
        all
    }

    fn breakers(&self, all: &mut Vec<Attention>) {
        for breaker in self.breakers.items.iter().filter(|it| it.state != "closed") {
            let state = breaker.state.replace('_', " ");
            let text = format!("The breaker of {} is {state}", breaker.name);
            all.push(Attention::bad(text, "/console/outside"));
        }
    }

    fn letters(&self, all: &mut Vec<Attention>) {
        let count = self.letters.items.len() as u64;
        if count > 0 {
            let than = if self.more_letters { "More than " } else { "" };
            let text = format!("{than}{} to decide", counted(count, "dead letter"));
            all.push(Attention::bad(text, "/console/dead-letters"));
        }
    }

    fn schedules(&self, all: &mut Vec<Attention>) {
        for schedule in &self.schedules.items {
            let error = schedule.last.as_ref().and_then(|run| run.error.as_deref());
            let name = format!("{}.{}", schedule.service, schedule.name);
            if let Some(code) = error.filter(|code| *code != "skipped") {
                let text = format!("The last run of {name} failed: {code}");
                all.push(Attention::bad(text, "/console/schedules"));
            } else if schedule.state == "paused" {
                let text = format!("The schedule {name} is paused");
                all.push(Attention::warn(text, "/console/schedules"));
            }
        }
    }

    fn subscriptions(&self, all: &mut Vec<Attention>) {
        for one in &self.subscriptions.items {
            let name = format!("{}.{}", one.service, one.name);
            if one.state == SubscriptionState::Paused {
                let waiting = counted(one.waiting, "message");
                let text = format!("{name} is paused: {waiting} waiting");
                all.push(Attention::warn(text, search(&name)));
            } else if one.waiting >= MANY {
                let waiting = counted(one.waiting, "message");
                all.push(Attention::warn(
                    format!("{waiting} wait for {name}"),
                    search(&name),
                ));
            }
        }
    }
}

fn search(text: &str) -> String {
    format!("/console/subscriptions?q={}", encode(text))
}

/// Something that needs attention.
#[derive(Debug, PartialEq, Eq)]
struct Attention {
    /// `bad` or `warn`.
    level: &'static str,
    text: String,
    path: String,
}

impl Attention {
    fn bad(text: String, path: impl Into<String>) -> Self {
        Self {
            level: "bad",
            text,
            path: path.into(),
        }
    }

    fn warn(text: String, path: impl Into<String>) -> Self {
        Self {
            level: "warn",
            ..Self::bad(text, path)
        }
    }
}

/// A figure at the top of the page.
struct Figure {
    label: &'static str,
    value: String,
    path: &'static str,
    /// `calm`, `warn` or `bad`.
    level: &'static str,
}

/// The state of one service.
struct Health {
    name: String,
    /// `calm`, `warn` or `bad`.
    level: &'static str,
    words: String,
}

/// The most entries that are shown. The rest is counted.
const SHOWN: usize = 8;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct Overview<'a> {
    frame: Frame<'a>,
    attention: Vec<Attention>,
    figures: Vec<Figure>,
    services: Vec<Health>,
    map: &'a Map,
}

impl Overview<'_> {
    fn first(&self) -> &[Attention] {
        &self.attention[..self.attention.len().min(SHOWN)]
    }

    fn rest(&self) -> usize {
        self.attention.len().saturating_sub(SHOWN)
    }

    fn headline(&self) -> String {
        match self.attention.len() {
            0 => "All is well".into(),
            1 => "One thing needs attention".into(),
            count => format!("{count} things need attention"),
        }
    }

    /// Returns `bad`, `warn` or `calm`.
    fn level(&self) -> &'static str {
        self.attention.first().map_or("calm", |first| first.level)
    }

    fn health(&self, name: &str) -> (&'static str, &str) {
        let found = self.services.iter().find(|it| it.name == name);
        found.map_or(("calm", ""), |it| (it.level, &it.words))
    }
}

fn figures(seen: &Seen, map: &Map) -> Vec<Figure> {
    let all = &seen.subscriptions.items;
    let sum = |of: fn(&Subscription) -> u64| all.iter().map(of).sum::<u64>();
    let paused = all
        .iter()
        .filter(|it| it.state == SubscriptionState::Paused);
    let open = seen.breakers.items.iter().filter(|it| it.state != "closed");
    let more = if seen.more_letters { "+" } else { "" };
    let letters = seen.letters.items.len();
    let if_any = |count: usize, level| if count > 0 { level } else { "calm" };
    let (paused, open) = (paused.count(), open.count());
    let figure = |label, value, path, level| Figure {
        label,
        value,
        path,
        level,
    };
    let subscriptions = "/console/subscriptions";
    let (away, services) = (seen.away().len(), map.services.len());
    let answering = match away {
        0 => services.to_string(),
        _ => format!("{} of {services}", services.saturating_sub(away)),
    };
    vec![
        figure("Services", answering, subscriptions, if_any(away, "bad")),
        figure(
            "Waiting",
            grouped(sum(|it| it.waiting)),
            subscriptions,
            "calm",
        ),
        figure(
            "In flight",
            grouped(sum(|it| it.in_flight)),
            subscriptions,
            "calm",
        ),
        figure(
            "Paused",
            paused.to_string(),
            "/console/subscriptions?show=paused",
            if_any(paused, "warn"),
        ),
        figure(
            "Dead letters",
            format!("{letters}{more}"),
            "/console/dead-letters",
            if_any(letters, "bad"),
        ),
        figure(
            "Open breakers",
            open.to_string(),
            "/console/outside",
            if_any(open, "bad"),
        ),
    ]
}

fn services(seen: &Seen, map: &Map) -> Vec<Health> {
    let away = seen.away();
    let health = |name: &str| {
        let own = seen
            .subscriptions
            .items
            .iter()
            .filter(|it| it.service.as_str() == name);
        let (mut waiting, mut in_flight, mut paused) = (0, 0, 0_u64);
        for one in own {
            waiting += one.waiting;
            in_flight += one.in_flight;
            paused += u64::from(one.state == SubscriptionState::Paused);
        }
        let mut breakers = seen.breakers.items.iter();
        let open = breakers.find(|it| it.service.as_str() == name && it.state != "closed");
        let (level, words) = if away.iter().any(|it| it == name) {
            ("bad", "does not answer".to_owned())
        } else if let Some(breaker) = open {
            ("bad", format!("{} fails", breaker.name))
        } else if paused > 0 {
            ("warn", format!("{} paused", grouped(paused)))
        } else if waiting > 0 {
            ("calm", format!("{} waiting", grouped(waiting)))
        } else if in_flight > 0 {
            ("calm", format!("{} in flight", grouped(in_flight)))
        } else {
            ("calm", "idle".to_owned())
        };
        Health {
            name: name.to_owned(),
            level,
            words,
        }
    };
    map.services.iter().map(|name| health(name)).collect()
}

pub(super) async fn page(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let seen = match Seen::of(&console, &visitor).await {
        Ok(seen) => seen,
        Err(refused) => return instead(&console, &visitor, refused),
    };
    let overview = Overview {
        frame: Frame::new(&console, &visitor, "/console"),
        attention: seen.attention(),
        figures: figures(&seen, &console.map),
        services: services(&seen, &console.map),
        map: &console.map,
    };
    reply(StatusCode::OK, &overview)
}
