//! Signed requests and replies.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::ports::{Dialog, Envelope, Signatures as _, Transport as _};
use wingbeat::test::{Model, Simulation};
use wingbeat::trust::{Ed25519, Trust};
use wingbeat::{Name, Running, Runtime as _};

use super::{GetQuote, Settings, get, requests, with};
use crate::transfers::{envelope, ports};

struct Signed {
    simulation: Simulation,
    model: Model,
    running: Running,
    keys: Arc<Ed25519>,
}

impl Signed {
    fn start() -> Self {
        let simulation = Simulation::new(5);
        let model = Model::new(simulation.runtime());
        let keys = Arc::new(Ed25519::generated(["shop", "pricing"]));
        let app = with(&Settings::default()).signed(Trust::new(keys.clone()));
        let started = app.start(ports(&model, simulation.group()));
        let running = simulation.run(started).expect("it starts");
        Self {
            simulation,
            model,
            running,
            keys,
        }
    }

    fn quote(&self) -> Result<u32, String> {
        let asked = requests(&self.running).ask(get("egg"));
        let outcome = self.simulation.run(asked.within(Duration::from_secs(2)));
        outcome
            .map(|it| it.number)
            .map_err(|it| it.code().to_owned())
    }

    /// Returns the last request that was sent.
    fn request(&self) -> Envelope {
        let log = self.model.store.log();
        let sent = log.iter().rev().flat_map(|unit| &unit.messages);
        let mut requests = sent.filter(|it| matches!(it.dialog, Some(Dialog::Request { .. })));
        requests.next().expect("a request").clone()
    }

    fn publish(&self, message: Envelope) {
        let published = self.model.transport.publish(vec![message]);
        assert!(self.simulation.run(published)[0].is_ok());
        self.simulation.advance(Duration::from_secs(5));
    }
}

#[test]
fn signed_requests_and_replies_are_admitted() {
    let signed = Signed::start();
    assert_eq!(signed.quote(), Ok(1));
    assert!(signed.request().signature.is_some());
}

/// Who can read a request knows its id and the reply queue.
#[test]
fn a_reply_without_the_signature_of_the_service_that_answers_is_discarded() {
    let signed = Signed::start();
    let pause = signed.running.pause("pricing", "get_quote");
    signed.simulation.run(pause).expect("the store answers");
    for signer in [None, Some("shop"), Some("pricing")] {
        let asked = requests(&signed.running).ask(get("egg"));
        let forging = async {
            signed.simulation.sleep(Duration::from_secs(1)).await;
            let request = signed.request();
            let mut reply = Envelope {
                kind: "pricing.get_quote.reply.v1".into(),
                source: signer.unwrap_or("pricing").into(),
                causation: Some(request.id),
                dialog: request.dialog.as_ref().and_then(Dialog::reply),
                body: r#"{"cents":1,"number":99}"#.into(),
                ..envelope(&signed.simulation, &get("egg"))
            };
            let sign = |name| signed.keys.sign(Name::new(name), &reply.signed_text());
            reply.signature = signer.and_then(sign);
            signed.model.transport.publish(vec![reply]).await
        };
        let asking = asked.within(Duration::from_secs(3));
        let both = futures_util::future::join(asking, forging);
        let (outcome, published) = signed.simulation.run(both);
        assert!(published[0].is_ok());
        let forged = outcome.is_ok_and(|it| it.number == 99);
        assert_eq!(forged, signer == Some("pricing"), "{signer:?}");
    }
}

#[test]
fn the_reply_queue_of_a_signed_request_cannot_be_exchanged() {
    let signed = Signed::start();
    assert_eq!(signed.quote(), Ok(1));
    let id = wingbeat::Uuid::from_u128(7);
    let to = "pricing.get_quote".to_owned();
    let mut exchanged = Envelope {
        id: id.into(),
        ..signed.request()
    };
    let text = exchanged.signed_text();
    exchanged.signature = signed.keys.sign(Name::new("shop"), &text);
    if let Some(Dialog::Request { reply_to, .. }) = &mut exchanged.dialog {
        *reply_to = to;
    }
    assert_eq!(exchanged.kind, <GetQuote as wingbeat::Message>::NAME);
    signed.publish(exchanged);
    let letters = signed.running.dead_letters(Name::new("pricing"));
    let letters = signed.simulation.run(letters).expect("the store answers");
    assert_eq!(letters[0].reason, "forged");
}
