//! Traces: a message's timers, calls, failures and retries belong to the message's trace.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::call::Http;
use wingbeat::outgoing::{Request, Response};
use wingbeat::ports::{Envelope, HttpClient, Propagation, TraceParent};
use wingbeat::test::{Model, Simulation};
use wingbeat::{
    App, BoxFuture, Call, Command, Effects, Entity, Error, Event, GaveUp, Handler as _, JsonSchema,
    Meta, Name, Result, Retry, RuntimeExt as _, Saga, SagaEffects, SagaInput, Service, Table,
    TargetPolicy, Unexpected, schemars, telemetry,
};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "desk.order", version = 1, key = id)]
struct Order {
    id: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "desk.reminded", version = 1, key = id)]
struct Reminded {
    id: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "desk.reminder_due", version = 1, key = id)]
struct ReminderDue {
    id: String,
}

#[derive(Call, Clone, Serialize, Deserialize)]
#[call(name = "desk.ask", target = "outside", key = id, outcome = Answered)]
struct Ask {
    id: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "desk.answered", version = 1, key = id)]
struct Answered {
    id: String,
}

impl GaveUp<Ask> for Answered {
    fn gave_up(call: &Ask, _why: &Error) -> Self {
        Self {
            id: call.id.clone(),
        }
    }
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "desk.done", version = 1, key = id)]
struct Done {
    id: String,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Order(Order),
    #[saga(timer)]
    Due(ReminderDue),
}

#[derive(Default, Serialize, Deserialize)]
struct Desk {}

impl Saga for Desk {
    const NAME: &'static str = "desk";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Order(Order { id }) => {
                effects.after(Duration::from_secs(1_800), &ReminderDue { id });
            }
            Input::Due(ReminderDue { id }) => {
                effects.publish(&Reminded { id }).end();
            }
        }
    }

    fn unexpected(
        &mut self,
        _reason: Unexpected,
        _input: Input,
        _effects: &mut SagaEffects<Input>,
    ) {
    }
}

async fn call_out(event: Reminded) -> Result<Ask> {
    Ok(Ask { id: event.id })
}

async fn ask(call: Ask, http: Http) -> Result<Answered> {
    let request = Request {
        method: "POST",
        url: "http://outside/asked?token=secret".into(),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        timeout: Duration::from_secs(1),
    };
    http.client.send(request).await?;
    Ok(Answered { id: call.id })
}

/// The number of failures of a handler.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Failed(u32);

impl Entity for Failed {
    const NAME: &'static str = "failed";
    type Id = String;
}

async fn conclude(command: Answered, meta: Meta) -> Result<Done> {
    let context = telemetry::current().expect("a context while it is handled");
    assert_eq!(
        context.correlation,
        Some(meta.correlation),
        "as in log lines"
    );
    assert_eq!(context.causation, meta.message);
    Ok(Done { id: command.id })
}

/// An outside system that records the traces of its requests, and answers from the third one on.
#[derive(Default)]
struct Outside {
    parents: Mutex<Vec<String>>,
    /// The headers `tracestate` and `baggage` of each request.
    propagated: Mutex<Vec<[String; 2]>>,
}

impl HttpClient for Outside {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        let of = |name: &str| {
            let mut headers = request.headers.iter();
            let header = headers.find(|(other, _)| other == name);
            header.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let fields = [of("tracestate"), of("baggage")];
        self.propagated
            .lock()
            .expect("nobody panicked")
            .push(fields);
        let mut headers = request.headers.into_iter();
        let parent = headers.find(|(name, _)| name == "traceparent");
        let mut parents = self.parents.lock().expect("nobody panicked");
        parents.push(parent.map(|(_, value)| value).unwrap_or_default());
        let answers = parents.len() > 2;
        Box::pin(async move {
            if !answers {
                let text = "the outside system does not answer";
                return Err(Error::retry("unavailable", text));
            }
            Ok(Response {
                status: 200,
                ..Response::default()
            })
        })
    }
}

/// A policy with a minute between attempts, so that the process can be killed in between.
fn patient() -> TargetPolicy {
    let minute = Duration::from_secs(60);
    TargetPolicy {
        backoff: minute,
        backoff_max: minute,
        ..TargetPolicy::default()
    }
}

fn desk() -> App {
    let service = Service::new("desk")
        .saga::<Desk>()
        .on(call_out)
        .on(conclude)
        .target("outside", patient())
        .calls(ask);
    App::new().service(service)
}

/// Creates a message from outside of the app.
fn from_outside<M: wingbeat::Message>(
    world: &Simulation,
    message: &M,
    traceparent: Option<TraceParent>,
) -> Envelope {
    let runtime = world.runtime();
    let id = runtime.id();
    Envelope {
        id: id.into(),
        source: "stranger".into(),
        kind: M::NAME.into(),
        role: M::KIND,
        key: message.key(),
        time: runtime.now(),
        correlation: id.into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent,
        propagation: Default::default(),
        signature: None,
        dialog: None,
        body: wingbeat::encode_body(message),
    }
}

fn caller() -> TraceParent {
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    text.parse().expect("a valid traceparent")
}

/// Returns the published messages with their traces.
fn published(model: &Model) -> Vec<(String, Option<u128>)> {
    let units = model.store.log().into_iter();
    let messages = units.flat_map(|unit| unit.messages);
    let told = |it: Envelope| {
        (
            it.kind.into_owned(),
            it.traceparent.map(TraceParent::trace_id),
        )
    };
    messages.map(told).collect()
}

#[test]
fn a_message_its_timer_and_its_call_share_one_trace_over_restarts() {
    let world = Simulation::new(1);
    let model = Model::new(world.runtime());
    let outside = Arc::new(Outside::default());
    let mut process = world.group();
    let mut running = world
        .run(
            desk()
                .allow_unknown_owners()
                .start(model.ports(&process, outside.clone())),
        )
        .expect("it starts");
    let (state, baggage) = ("vendor=1,other=2", "tenant=7;secret=no");
    let order = Envelope {
        propagation: Propagation::new(Some(state), Some(baggage)),
        ..from_outside(&world, &Order { id: "a".into() }, Some(caller()))
    };
    let propagation = order.propagation.clone();
    let sent = wingbeat::ports::Transport::publish(&*model.transport, vec![order]);
    world.run(sent)[0].clone().expect("it is sent");
    // The process is killed between message and timer, and between timer and answer.
    for time in [600, 1_201, 3_600] {
        world.advance(Duration::from_secs(time));
        process.kill();
        drop(running);
        process = world.group();
        running = world
            .run(
                desk()
                    .allow_unknown_owners()
                    .start(model.ports(&process, outside.clone())),
            )
            .expect("it starts");
    }
    world.advance(Duration::from_secs(600));
    let trace = Some(caller().trace_id());
    let all = ["desk.reminded.v1", "desk.answered.v1", "desk.done.v1"];
    assert_eq!(published(&model), all.map(|name| (name.to_owned(), trace)));
    let parents = outside.parents.lock().expect("nobody panicked").clone();
    let asked: Vec<TraceParent> = parents.iter().filter_map(|it| it.parse().ok()).collect();
    assert_eq!(asked.len(), parents.len(), "{parents:?}");
    assert!(asked.len() > 2 && asked.iter().all(|it| Some(it.trace_id()) == trace));
    assert_ne!(asked[0], asked[1], "each attempt has its own span");
    let units = model.store.log().into_iter();
    let mut sent = units.flat_map(|unit| unit.messages);
    assert!(sent.all(|it| it.propagation == propagation));
    let propagated = outside.propagated.lock().expect("nobody panicked").clone();
    let all = propagated.iter().all(|fields| *fields == [state, baggage]);
    assert!(all && propagated.len() == asked.len(), "{propagated:?}");
    drop(running);
    world.end();
}

/// Fails six times, so the message is parked and becomes a dead letter.
async fn stumble(command: Answered, failed: Table<Failed>) -> Result<Effects> {
    let mended = failed.get(&command.id).await?.is_some();
    let mut effects = Effects::new();
    if !mended {
        return Err(Error::retry("told_to", "told to"));
    }
    effects.publish(&Done { id: command.id });
    Ok(effects)
}

async fn mend(event: Reminded, failed: Table<Failed>) -> Result<()> {
    failed.update(&event.id, |_| Failed(0)).await.map(drop)
}

fn stumbling() -> App {
    let retry = Retry {
        quick: 2,
        parked: vec![Duration::from_secs(10), Duration::from_secs(60)],
        ..Retry::default()
    };
    App::new().service(Service::new("desk").on(stumble.retry(retry)).on(mend))
}

#[test]
fn a_parked_and_retried_message_keeps_its_trace() {
    let world = Simulation::new(1);
    let model = Model::new(world.runtime());
    let process = world.group();
    let ports = model.ports(&process, Arc::new(Outside::default()));
    let running = world
        .run(stumbling().allow_unknown_owners().start(ports))
        .expect("it starts");
    let publish = |message: Envelope| {
        let sent = wingbeat::ports::Transport::publish(&*model.transport, vec![message]);
        world.run(sent)[0].clone().expect("it is sent");
    };
    publish(from_outside(
        &world,
        &Answered { id: "a".into() },
        Some(caller()),
    ));
    world.advance(Duration::from_secs(600));
    let desk = Name::new("desk");
    let letters = world.run(running.dead_letters(desk)).expect("it reads");
    let [letter] = &letters[..] else {
        panic!("one dead letter: {letters:?}")
    };
    assert_eq!(letter.failures.parked, 2, "it was parked");
    assert_eq!(
        letter.message().and_then(|it| it.traceparent),
        Some(caller())
    );
    publish(from_outside(&world, &Reminded { id: "a".into() }, None));
    world.advance(Duration::from_secs(10));
    let retried = world.run(running.retry_dead_letter(desk, letter.id));
    assert!(retried.expect("it writes"));
    world.advance(Duration::from_secs(60));
    let trace = Some(caller().trace_id());
    assert_eq!(published(&model), [("desk.done.v1".to_owned(), trace)]);
    drop(running);
    world.end();
}

#[test]
fn a_message_without_a_trace_gets_one_from_its_correlation_id() {
    let world = Simulation::new(1);
    let model = Model::new(world.runtime());
    let process = world.group();
    let ports = model.ports(&process, Arc::new(Outside::default()));
    let running = world
        .run(desk().allow_unknown_owners().start(ports))
        .expect("it starts");
    let message = from_outside(&world, &Answered { id: "a".into() }, None);
    let story = message.correlation.0.as_u128();
    let sent = wingbeat::ports::Transport::publish(&*model.transport, vec![message]);
    world.run(sent)[0].clone().expect("it is sent");
    world.advance(Duration::from_secs(10));
    assert_eq!(
        published(&model),
        [("desk.done.v1".to_owned(), Some(story))]
    );
    drop(running);
    world.end();
}
