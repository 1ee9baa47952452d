//! SQL on a service's own tables, as a part of its unit of work.
//!
//! A unit carries [`Statement`]s, which the store runs within the commit, or a whole open
//! transaction, in which the store commits the unit. Only stores with SQL accept either.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::{Class, Failure, Timestamp};

/// An SQL statement on a service's own tables, which the store runs as a part of the commit.
///
/// ```
/// use wingbeat_core::Statement;
///
/// let take = Statement::new(
///     "UPDATE stock SET free = free - $2 WHERE sku = $1 AND free >= $2",
///     ("egg", 12),
/// )
/// .expecting(1); // otherwise nothing of the unit takes effect
/// assert!(take.check_rows(1, 1).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// One statement that reads or changes rows, with the placeholders `$1`, `$2`, …. The store
    /// prepares a `'static` text once, any other text each time.
    pub text: Cow<'static, str>,
    /// The parameters, in the order of their placeholders.
    pub params: Vec<Param>,
    /// The number of rows that it must change, or return if it is a query; `None` for any number.
    pub rows: Option<u64>,
}

impl Statement {
    /// Creates a statement that may change any number of rows.
    pub fn new(text: impl Into<Cow<'static, str>>, params: impl Params) -> Self {
        Self {
            text: text.into(),
            params: params.into_params(),
            rows: None,
        }
    }

    /// Requires the statement to change, or return if it is a query, exactly `rows` rows. Otherwise
    /// the store rolls the whole unit back and reports [`Unmet::Rows`].
    #[must_use]
    pub fn expecting(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Checks the row count of the statement at position `number` of its unit, counted from 1.
    /// Stores call this.
    ///
    /// # Errors
    ///
    /// [`Unmet::Rows`] if the statement requires another number of rows than `changed`.
    pub fn check_rows(&self, number: usize, changed: u64) -> Result<(), Unmet> {
        match self.rows {
            Some(expected) if expected != changed => Err(Unmet::Rows {
                statement: number,
                changed,
                expected,
            }),
            _ => Ok(()),
        }
    }
}

/// An unmet condition of a statement. Nothing of its unit took effect, and the handler runs again.
///
/// As an [`Error`](crate::Error), its code is `rows_unexpected` or `statement_busy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// The statement changed another number of rows than it requires.
    #[error("statement {statement} changed {changed} rows, {expected} expected")]
    Rows {
        /// The position of the statement in its unit, counted from 1.
        statement: usize,
        /// The rows that it changed or returned.
        changed: u64,
        /// The rows that it requires.
        expected: u64,
    },
    /// The statement waited too long for a lock, or ran too long.
    #[error("statement {statement} timed out or waited too long for a lock")]
    Busy {
        /// The position of the statement in its unit, counted from 1.
        statement: usize,
    },
}

impl Failure for Unmet {
    fn class(&self) -> Class {
        Class::Retry
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Rows { .. } => "rows_unexpected",
            Self::Busy { .. } => "statement_busy",
        }
    }
}

/// A parameter of a statement. The database converts it to the type that the placeholder needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// `NULL`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// A text, or a type in its textual form: a hyphenated UUID, an RFC 3339 time, a decimal, JSON.
    Text(String),
    /// A byte string.
    Bytes(Bytes),
}

macro_rules! param {
    ($($type:ty => $value:ident, $param:expr;)*) => {
        $(
            impl From<$type> for Param {
                fn from($value: $type) -> Self {
                    $param
                }
            }
        )*
    };
}
param! {
    bool => value, Self::Bool(value);
    i64 => value, Self::Int(value);
    i32 => value, Self::Int(value.into());
    i16 => value, Self::Int(value.into());
    u32 => value, Self::Int(value.into());
    u16 => value, Self::Int(value.into());
    f64 => value, Self::Real(value);
    &str => value, Self::Text(value.to_owned());
    String => value, Self::Text(value);
    &String => value, Self::Text(value.clone());
    Uuid => value, Self::Text(value.to_string());
    Timestamp => value, Self::Text(value.to_string());
    Bytes => value, Self::Bytes(value);
    Vec<u8> => value, Self::Bytes(value.into());
}

impl<T: Into<Self>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The parameters of a statement: an array, a vector, or a tuple of up to eight for different
/// types.
///
/// ```
/// use wingbeat_core::{Param, Params};
///
/// assert_eq!(["egg", "ham"].into_params().len(), 2);
/// assert_eq!(("egg", 12, None::<bool>).into_params()[2], Param::Null);
/// ```
pub trait Params {
    /// Converts the parameters, in order.
    fn into_params(self) -> Vec<Param>;
}

impl<T: Into<Param>, const N: usize> Params for [T; N] {
    fn into_params(self) -> Vec<Param> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Param>> Params for Vec<T> {
    fn into_params(self) -> Vec<Param> {
        self.into_iter().map(Into::into).collect()
    }
}

macro_rules! tuples {
    ($($value:ident)*) => {
        impl<$($value: Into<Param>),*> Params for ($($value,)*) {
            #[allow(non_snake_case, reason = "each variable is named after its type parameter")]
            fn into_params(self) -> Vec<Param> {
                let ($($value,)*) = self;
                vec![$($value.into()),*]
            }
        }
    };
}
tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// An open transaction of the service's database, in which the store commits the unit.
///
/// The first submission of the unit consumes the transaction. If all clones are dropped before
/// that, the transaction is rolled back.
#[derive(Clone)]
pub struct OpenTransaction(Arc<dyn Any + Send + Sync>);

impl OpenTransaction {
    /// Wraps the transaction type of one store. Other stores refuse the unit.
    pub fn new<T: Any + Send + Sync>(transaction: T) -> Self {
        Self(Arc::new(transaction))
    }

    /// Returns the transaction if it has the type `T`.
    #[must_use]
    pub fn downcast<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTransaction")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn parameters_of_different_types_form_a_tuple() {
        let params = ("a", 7, None::<i64>, true).into_params();
        let expected = [
            Param::Text("a".into()),
            Param::Int(7),
            Param::Null,
            Param::Bool(true),
        ];
        assert_eq!(params, expected);
        assert_eq!(["x"; 2].into_params(), vec![Param::from("x"); 2]);
        assert_eq!(().into_params(), []);
    }

    #[test]
    fn an_unexpected_row_count_becomes_an_error() {
        let statement = Statement::new("UPDATE stock SET free = 0", ());
        assert_eq!(statement.check_rows(1, 5), Ok(()));
        let unmet = statement
            .expecting(1)
            .check_rows(2, 0)
            .expect_err("zero rows are not one");
        let error = Error::from(unmet);
        assert_eq!(
            (error.class(), error.code()),
            (Class::Retry, "rows_unexpected")
        );
        assert_eq!(error.to_string(), "statement 2 changed 0 rows, 1 expected");
    }
}
