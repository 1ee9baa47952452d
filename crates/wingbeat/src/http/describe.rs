//! The part of a route's description that each extractor contributes. The extractors of this crate
//! implement it next to their definitions.

use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, MatchedPath, OriginalUri, RawQuery, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use wingbeat_core::HasSchema;

use crate::describe::RequestDescription;
use crate::state::Reads;

/// Describes what an extractor reads from a request, for the OpenAPI document.
///
/// The extractors of this crate and of axum implement it. Your own extractor delegates to the
/// extractors that it uses, or describes nothing:
///
/// ```
/// use wingbeat::describe::RequestDescription;
/// use wingbeat::http::{Caller, DescribeRequest, Json};
/// # #[derive(serde::Deserialize, wingbeat::JsonSchema)] struct Booking { room: String }
/// # use wingbeat::schemars;
///
/// /// A booking whose room was checked.
/// struct CheckedBooking(Booking);
///
/// impl DescribeRequest for CheckedBooking {
///     fn describe(request: &mut RequestDescription) {
///         Caller::describe(request);
///         Json::<Booking>::describe(request);
///     }
/// }
///
/// /// The tenant that the host name stands for.
/// struct Tenant(String);
///
/// impl DescribeRequest for Tenant {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe what it reads from a request",
    label = "the OpenAPI document needs its description",
    note = "implement `wingbeat::http::DescribeRequest` for it; an empty implementation describes nothing",
    note = "types inside `Json`, `Query` and `Path` have to derive `JsonSchema`"
)]
pub trait DescribeRequest {
    /// Adds what the extractor reads, and the problems that it answers with. Nothing by default.
    fn describe(_request: &mut RequestDescription) {}
}

impl<T: HasSchema> DescribeRequest for axum::extract::Path<T> {
    fn describe(request: &mut RequestDescription) {
        request.path::<T>();
    }
}

impl<T: HasSchema> DescribeRequest for axum::extract::Query<T> {
    fn describe(request: &mut RequestDescription) {
        request.query::<T>();
    }
}

impl<T: HasSchema> DescribeRequest for axum::Json<T> {
    fn describe(request: &mut RequestDescription) {
        request.json::<T>();
    }
}

impl<T> DescribeRequest for axum::extract::State<T> {}
impl<T> DescribeRequest for Extension<T> {}
impl DescribeRequest for Reads {}
impl<T> DescribeRequest for ConnectInfo<T> {}
impl<T, E> DescribeRequest for Result<T, E> {}
impl DescribeRequest for Body {}
impl DescribeRequest for Bytes {}
impl DescribeRequest for HeaderMap {}
impl DescribeRequest for MatchedPath {}
impl DescribeRequest for Method {}
impl DescribeRequest for OriginalUri {}
impl DescribeRequest for Parts {}
impl DescribeRequest for RawQuery {}
impl DescribeRequest for Request {}
impl DescribeRequest for String {}
impl DescribeRequest for Uri {}

/// The arguments of a plain axum handler, as axum names them in its `Handler<T, S>`.
pub trait DescribeArguments {
    /// Adds what the arguments read from a request.
    fn describe(request: &mut RequestDescription);
}

impl DescribeArguments for ((),) {
    fn describe(_request: &mut RequestDescription) {}
}

macro_rules! arguments {
    ($($name:ident)+) => {
        impl<Via, $($name: DescribeRequest),+> DescribeArguments for (Via, $($name,)+) {
            fn describe(request: &mut RequestDescription) {
                $($name::describe(request);)+
            }
        }
    };
}
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);
arguments!(A B C D E F G H);

macro_rules! together {
    ($($name:ident)+) => {
        impl<$($name: DescribeRequest),+> DescribeRequest for ($($name,)+) {
            fn describe(request: &mut RequestDescription) {
                $($name::describe(request);)+
            }
        }
    };
}
together!(A);
together!(A B);
together!(A B C);
together!(A B C D);
together!(A B C D E);
