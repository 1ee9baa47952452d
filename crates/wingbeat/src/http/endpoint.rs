//! A handler for one method, and its description.

use std::any::TypeId;
use std::marker::PhantomData;

use axum::Extension;
use axum::http::Method;
use axum::routing::MethodRouter;
use wingbeat_core::{HasSchema, SchemaOf};

use super::{DescribeRequest, IdempotencyKey, Problem};
use crate::describe::{Answer, Operation, RequestDescription};
use crate::overload::Priority;

/// A handler that runs in a unit of work; see [`post`](super::post).
#[derive(Clone, Copy, Debug)]
pub struct InUnit;

/// A plain axum handler; see [`plain`](super::plain).
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// A handler for one HTTP method, and its description. [`Routes::route`](super::Routes::route)
/// gives it a path.
///
/// The arguments of the handler describe the request. The answers are declared:
///
/// ```
/// use wingbeat::http::{Json, Problem, Reply, Routes, accepted, post};
/// use wingbeat::{JsonSchema, schemars};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Booking {
///     room: String,
/// }
///
/// #[derive(Serialize, JsonSchema)]
/// struct Booked {
///     room: String,
/// }
///
/// async fn book(Json(booking): Json<Booking>) -> Result<Reply, Problem> {
///     Ok(accepted(&Booked { room: booking.room }))
/// }
///
/// let routes: Routes = Routes::new().route(
///     "/bookings",
///     post(book)
///         .idempotent()
///         .summary("Books a room")
///         .answers::<Booked>(202)
///         .problem(409, "room_taken", "The room is booked already."),
/// );
/// # assert_eq!(routes.operations().len(), 1);
/// ```
#[must_use = "an endpoint answers nothing before `Routes::route` gives it a path"]
pub struct Endpoint<S = (), K = Plain> {
    router: MethodRouter<S>,
    operation: Operation,
    kind: PhantomData<K>,
}

impl<S, K> Endpoint<S, K> {
    pub(super) fn new(method: Method, router: MethodRouter<S>) -> Self {
        Self {
            router,
            operation: Operation::new(method, Some(SchemaOf::of::<Problem>())),
            kind: PhantomData,
        }
    }

    /// Lets arguments describe the parts of a request that they read.
    pub(super) fn described(mut self, by: impl FnOnce(&mut RequestDescription)) -> Self {
        self.operation.reads(by);
        self
    }

    pub(super) fn into_parts(self) -> (MethodRouter<S>, Operation) {
        (self.router, self.operation)
    }

    /// Sets the priority of the route under [overload](crate::overload). By default it is
    /// [`Priority::High`] for reads and [`Priority::Normal`] for writes.
    ///
    /// ```
    /// use wingbeat::http::{Path, Problem, Reply, Routes, no_content, post};
    /// use wingbeat::overload::Priority;
    ///
    /// async fn cancel(Path(room): Path<String>) -> Result<Reply, Problem> {
    ///     # drop(room);
    ///     Ok(no_content())
    /// }
    ///
    /// // Whoever cancels makes room for others.
    /// let routes: Routes = Routes::new().route(
    ///     "/bookings/{room}/cancel",
    ///     post(cancel).priority(Priority::Essential),
    /// );
    /// # assert_eq!(routes.operations().len(), 1);
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.operation.priority = priority;
        self
    }

    /// Sets a short text for lists of routes.
    pub fn summary(mut self, text: impl Into<String>) -> Self {
        self.operation.summary = text.into();
        self
    }

    /// Sets a longer text, in Markdown.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.operation.description = text.into();
        self
    }

    /// Lists the endpoint under this tag instead of the service's name.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.operation.tag = Some(tag.into());
        self
    }

    /// Describes that the handler reads what `T` reads, although `T` is not an argument. For
    /// handlers that take whole requests.
    pub fn reads<T: DescribeRequest>(self) -> Self {
        self.described(T::describe)
    }

    /// Describes an optional header that the handler reads.
    pub fn reads_header(self, name: &'static str, description: impl Into<String>) -> Self {
        self.described(|request| {
            request.header(name, false, description);
        })
    }

    /// Declares an answer: this status with a `T` in JSON, or without a body for `()`.
    pub fn answers<T: HasSchema>(mut self, status: u16) -> Self {
        let has_body = TypeId::of::<T>() != TypeId::of::<()>();
        self.operation.answers.push(Answer {
            status,
            media_type: has_body.then_some("application/json"),
            schema: has_body.then(SchemaOf::of::<T>),
        });
        self
    }

    /// Declares an answer: this status with a body of another media type than JSON.
    pub fn answers_text(mut self, status: u16, media_type: &'static str) -> Self {
        self.operation.answers.push(Answer {
            status,
            media_type: Some(media_type),
            schema: None,
        });
        self
    }

    /// Declares that errors are not problems (RFC 9457), but for example pages.
    pub fn without_problems(mut self) -> Self {
        self.operation.problem = None;
        self
    }

    /// Declares a problem that the handler may answer with. Extractors declare their own.
    pub fn problem(self, status: u16, code: &'static str, description: impl Into<String>) -> Self {
        self.described(|request| {
            request.problem(status, code, description);
        })
    }
}

/// Marks requests to endpoints that require an idempotency key.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRequired;

impl<S: Clone + Send + Sync + 'static> Endpoint<S, InUnit> {
    /// Requires the header `Idempotency-Key`. The answer is committed with the unit of work.
    /// Requests with the same key get the stored answer and have no further effect.
    ///
    /// An endpoint with an optional key takes an `Option<IdempotencyKey>` as argument instead.
    pub fn idempotent(mut self) -> Self {
        self.router = self.router.layer(Extension(KeyRequired));
        self.described(IdempotencyKey::describe)
    }
}
