//! Refuses requests under overload, before their body is read.

use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};

use super::Problem;
use crate::overload::{Overload, Priority};

/// Refuses requests of a route, if requests of its priority are refused in a process with an
/// [`Overload`]. Without one, it lets all requests pass.
#[derive(Clone, Copy)]
pub(super) struct Shedding(pub(super) Priority);

impl<S> Layer<S> for Shedding {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        let Self(priority) = *self;
        Shed { inner, priority }
    }
}

#[derive(Clone)]
pub(super) struct Shed<S> {
    inner: S,
    priority: Priority,
}

impl<S> Service<Request> for Shed<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let overload = request.extensions().get::<Overload>();
        match overload.and_then(|it| it.refuse(self.priority)) {
            None => Either::Right(self.inner.call(request)),
            Some(pause) => {
                let detail = "too much work waits; try again after the given pause";
                let problem = Problem::new(503, "overloaded", detail);
                let response = problem.retry_after(pause.as_secs()).into_response();
                Either::Left(ready(Ok(response)))
            }
        }
    }
}
