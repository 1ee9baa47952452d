//! Routes that are served and described.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::Route;
use tower::{Layer, Service};

use super::shed::Shedding;
use super::{DescribeRequest, Endpoint};
use crate::describe::Operation;

/// Routes with descriptions: an axum router and its part of the OpenAPI document.
///
/// [`Service::routes`](crate::Service::routes) takes it. A plain axum [`Router`] converts into
/// routes that are served, but neither described nor refused under
/// [overload](crate::overload).
///
/// ```
/// use wingbeat::http::{Path, Problem, Reply, Routes, get, ok};
/// use wingbeat::{App, JsonSchema, Service, describe, schemars};
/// # use serde::Serialize;
///
/// /// A room.
/// #[derive(Serialize, JsonSchema)]
/// struct Room {
///     name: String,
/// }
///
/// async fn room(Path(name): Path<String>) -> Result<Reply, Problem> {
///     Ok(ok(&Room { name }))
/// }
///
/// let routes = Routes::new().route(
///     "/rooms/{name}",
///     get(room).summary("One room").answers::<Room>(200),
/// );
/// let app = App::new().service(Service::new("rooms").routes(routes));
/// let document = describe::openapi(&app, &describe::Info::new("The hotel", "1"));
/// assert_eq!(document["paths"]["/rooms/{name}"]["get"]["summary"], "One room");
/// ```
#[must_use = "routes answer nothing before a service takes them"]
pub struct Routes<S = ()> {
    router: Router<S>,
    operations: Vec<Operation>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Creates an empty set of routes.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            operations: Vec::new(),
        }
    }

    /// Adds an endpoint at a path. A path may have one endpoint for each method.
    ///
    /// # Panics
    ///
    /// If the path has an endpoint for the method already, or is not a valid path.
    pub fn route<K>(mut self, path: &str, endpoint: Endpoint<S, K>) -> Self {
        let (router, operation) = endpoint.into_parts();
        let router = router.layer(Shedding(operation.priority));
        self.router = self.router.route(path, router);
        self.operations.push(Operation {
            path: path.into(),
            ..operation
        });
        self
    }

    /// Adds other routes.
    ///
    /// # Panics
    ///
    /// If both have an endpoint for the same method of the same path.
    pub fn merge(mut self, other: impl Into<Self>) -> Self {
        let (router, operations) = other.into().into_parts();
        self.router = self.router.merge(router);
        self.operations.extend(operations);
        self
    }

    /// Moves all routes below a path.
    ///
    /// # Panics
    ///
    /// If `path` is empty or `/`.
    pub fn nest(path: &str, routes: impl Into<Self>) -> Self {
        let (router, mut operations) = routes.into().into_parts();
        for operation in &mut operations {
            operation.path.insert_str(0, path);
        }
        Self {
            router: Router::new().nest(path, router),
            operations,
        }
    }

    /// Describes that the routes so far read what `T` reads, for example because of a layer.
    pub fn reads<T: DescribeRequest>(mut self) -> Self {
        for operation in &mut self.operations {
            operation.reads(T::describe);
        }
        self
    }

    /// Sets the tag of the routes so far that have none.
    pub fn tag(mut self, tag: &str) -> Self {
        for operation in &mut self.operations {
            operation.tag.get_or_insert_with(|| tag.into());
        }
        self
    }

    /// Declares a problem of the routes so far, for example because of a layer.
    pub fn problem(mut self, status: u16, code: &'static str, description: &str) -> Self {
        for operation in &mut self.operations {
            operation.request.problem(status, code, description);
        }
        self
    }

    /// Wraps the routes so far in a layer; see [`Router::route_layer`].
    pub fn route_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.router = self.router.route_layer(layer);
        self
    }

    /// Sets the state of the handlers, for routes outside of services.
    /// [`Service::routes`](crate::Service::routes) does it for a service's routes.
    pub fn with_state<T>(self, state: S) -> Routes<T> {
        Routes {
            router: self.router.with_state(state),
            operations: self.operations,
        }
    }

    /// Returns the descriptions of the routes.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Returns the router and the descriptions.
    pub fn into_parts(self) -> (Router<S>, Vec<Operation>) {
        (self.router, self.operations)
    }

    /// Returns the router alone.
    pub fn into_router(self) -> Router<S> {
        self.router
    }
}

impl<S> From<Router<S>> for Routes<S> {
    fn from(router: Router<S>) -> Self {
        Self {
            router,
            operations: Vec::new(),
        }
    }
}
