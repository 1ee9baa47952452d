//! The side that asks: requests, and the wait for their replies.

use std::collections::BTreeSet;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::dialog::reply_queue;
use wingbeat_core::{
    Dialog, Envelope, Error, MessageId, MessageType, Result, RuntimeExt as _, Timestamp, Transport,
};

use super::definition::{Rejection, Request, rejected_type, reply_type};
use super::error::RequestError;
use super::inbox::Inbox;
use super::pending::Pending;
use crate::effects::{Effects, Outgoing, Stamp};
use crate::runtime::Control;
use crate::unit::{ServiceContext, run_unit};
use crate::{bodies, decode};

/// Asks requests on behalf of a service, and waits for their replies.
///
/// Routes extract it. Handlers of messages and of HTTP commands cannot: a unit of work does not
/// wait for others, it sends a command and handles the answer as a message. `docs/requests.md`
/// compares both. [`Running::requests`](crate::Running::requests) returns it for other code.
///
/// Each process has one reply queue for each service that asks. At most 1,024 requests of a service
/// wait in a process.
///
/// ```
/// use std::time::Duration;
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Request, Serialize, Deserialize, JsonSchema)]
/// #[request(name = "pricing.get_quote", version = 1, key = sku, reply = Quote)]
/// struct GetQuote { sku: String }
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct Quote { cents: u64 }
///
/// async fn quote(request: GetQuote) -> Result<Quote> {
///     match request.sku.as_str() {
///         "egg" => Ok(Quote { cents: 30 }),
///         _ => Err(Error::reject("unknown_sku", "there is no such article")),
///     }
/// }
///
/// async fn show(Path(sku): Path<String>, requests: Requests) -> Result<Reply, Problem> {
///     let quote = requests.ask(GetQuote { sku }).within(Duration::from_secs(2)).await?;
///     Ok(ok(&quote))
/// }
///
/// let pricing = Service::new("pricing").answer(quote);
/// let routes = Routes::new().route("/quotes/{sku}", get(show).answers::<Quote>(200));
/// let shop = Service::new("shop").asks::<GetQuote>().routes(routes);
/// let app = App::new().service(pricing).service(shop);
/// # #[cfg(feature = "test")]
/// # {
/// let app = wingbeat::test::TestApp::start(1, app);
/// let (status, quote) = app.ask("GET", "/quotes/egg", "", &Default::default());
/// assert_eq!((status, &quote["cents"]), (200, &30.into()));
/// let (status, problem) = app.ask("GET", "/quotes/tea", "", &Default::default());
/// assert_eq!((status, &problem["code"]), (422, &"unknown_sku".into()));
/// # }
/// ```
///
/// A handler cannot take it:
///
/// ```compile_fail
/// # use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "shop.sell", version = 1, key = sku)]
/// struct Sell { sku: String }
///
/// async fn sell(command: Sell, requests: Requests) -> Result<()> {
///     Ok(())
/// }
///
/// let shop = Service::new("shop").on(sell);
/// ```
#[derive(Clone)]
pub struct Requests(Arc<Inner>);

struct Inner {
    service: Arc<ServiceContext>,
    /// The types that the service declares.
    declared: BTreeSet<&'static str>,
    pending: Arc<Pending>,
    open: watch::Receiver<bool>,
}

/// A request that is about to be sent: [`within`](Self::within) sends it.
#[must_use = "a request is sent by `within`"]
pub struct Asking<R> {
    requests: Requests,
    outgoing: Outgoing,
    request: PhantomData<fn() -> R>,
}

impl Requests {
    /// Starts the receiver of replies.
    pub(crate) fn start(
        service: Arc<ServiceContext>,
        transport: Arc<dyn Transport>,
        asks: &[MessageType],
        control: watch::Receiver<Control>,
    ) -> Self {
        let queue = reply_queue(service.name, service.runtime.id());
        let pending = Arc::new(Pending::new(service.name, queue));
        let (open, opened) = watch::channel(false);
        let inbox = Inbox {
            service: Arc::clone(&service),
            transport,
            pending: Arc::clone(&pending),
            open,
        };
        service.runtime.spawn(Box::pin(inbox.run(control)));
        Self(Arc::new(Inner {
            service,
            declared: asks.iter().map(|it| it.name).collect(),
            pending,
            open: opened,
        }))
    }

    /// Prepares a request. The service must declare it with
    /// [`Service::asks`](crate::Service::asks).
    pub fn ask<R: Request>(&self, request: R) -> Asking<R> {
        Asking {
            requests: self.clone(),
            outgoing: Outgoing::of(&request),
            request: PhantomData,
        }
    }

    /// Returns the number of requests of this process that wait for their replies.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.pending.count()
    }

    /// Returns the number of replies that came after their request was forgotten: it had timed out,
    /// or its caller had dropped the future.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.0.pending.late()
    }
}

impl<R: Request> Asking<R> {
    /// Sends the request and waits for its reply, at most for `limit`.
    ///
    /// The service that answers does not begin after the deadline, apart from an allowance of one
    /// second for clocks that differ. Dropping the future forgets the request. It may still be
    /// handled until its deadline; its reply is discarded.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: `reply_timeout`, the code of a rejection, `request_unavailable`,
    /// `requests_overloaded`, `request_undeclared` or `reply_undecodable`.
    pub fn within(
        self,
        limit: Duration,
    ) -> impl Future<Output = Result<R::Reply, RequestError>> + Send + use<R> {
        let (Requests(inner), outgoing) = (self.requests, self.outgoing);
        async move {
            let reply = inner.ask(R::NAME, outgoing, limit).await?;
            let undecodable = |why| RequestError::Undecodable {
                request: R::NAME,
                why,
            };
            let bodies = inner.service.bodies.as_ref();
            let room = bodies::room(bodies, std::iter::once(&reply)).await;
            let _until_decoded = room.map_err(undecodable)?;
            let reply = bodies::fetch(bodies, reply).await;
            read::<R>(&reply.map_err(undecodable)?)
        }
    }
}

/// Returns the reply in a message.
fn read<R: Request>(reply: &Envelope) -> Result<R::Reply, RequestError> {
    let request = R::NAME;
    let undecodable = |why| RequestError::Undecodable { request, why };
    if reply.kind == rejected_type(request).as_str() {
        let Rejection { code, detail } = decode(&reply.body).map_err(undecodable)?;
        return Err(RequestError::Rejected {
            request,
            code,
            detail,
        });
    }
    if reply.kind != reply_type(request).as_str() {
        let text = format!("its type is {}", reply.kind);
        return Err(undecodable(Error::reject("unknown_type", text)));
    }
    decode(&reply.body).map_err(undecodable)
}

impl Inner {
    async fn ask(
        &self,
        request: &'static str,
        outgoing: Outgoing,
        limit: Duration,
    ) -> Result<Envelope, RequestError> {
        if !self.declared.contains(request) {
            return Err(RequestError::Undeclared { request });
        }
        let runtime = &self.service.runtime;
        let (id, deadline) = (runtime.id(), runtime.now() + limit);
        let waiting = self.pending.add(MessageId(id), request);
        let mut waiting =
            waiting.map_err(|waiting| RequestError::Overloaded { request, waiting })?;
        let mut sent = false;
        let answered = async {
            let unavailable = |why| RequestError::Unavailable { request, why };
            let reply_to = self.reply_queue().await.map_err(unavailable)?;
            sent = true;
            let dialog = Dialog::Request { reply_to, deadline };
            let stamped = stamped(outgoing, id, dialog, runtime.now());
            self.send(stamped)
                .await
                .map_err(|why| unsent(request, why))?;
            let forgotten = RequestError::TimedOut { request };
            waiting.reply().await.ok_or(forgotten)
        };
        let answered = runtime.timeout(limit, answered).await;
        let reply = match answered {
            Some(reply) => reply,
            None if sent => Err(RequestError::TimedOut { request }),
            None => {
                let why = Error::retry("broker_unavailable", "the reply queue is not open");
                Err(RequestError::Unavailable { request, why })
            }
        };
        waiting.end(match &reply {
            Ok(reply) if reply.kind == rejected_type(request).as_str() => "rejected",
            Ok(_) => "replied",
            Err(why) => why.outcome(),
        });
        reply
    }

    /// Returns the name of the reply queue, once it is open.
    async fn reply_queue(&self) -> Result<String> {
        let mut open = self.open.clone();
        let opened = open.wait_for(|it| *it).await;
        opened.map_err(|_| Error::retry("stopped", "the service was stopped"))?;
        Ok(self.pending.queue().to_owned())
    }

    /// Commits a unit with only the request.
    async fn send(&self, request: Outgoing) -> Result<()> {
        let request = &request;
        run_unit(&self.service, |scope| async move {
            let mut effects = Effects::new();
            effects.messages.push(request.clone());
            scope.record(effects)
        })
        .await
    }
}

/// Converts an error of the commit. A service that was stopped does not know whether its last units
/// were stored.
fn unsent(request: &'static str, why: Error) -> RequestError {
    match why.code() {
        "stopped" => RequestError::TimedOut { request },
        _ => RequestError::Unavailable { request, why },
    }
}

fn stamped(request: Outgoing, id: uuid::Uuid, dialog: Dialog, at: Timestamp) -> Outgoing {
    Outgoing {
        dialog: Some(dialog),
        stamp: Some(Stamp {
            id,
            at,
            replayed: false,
        }),
        ..request
    }
}
