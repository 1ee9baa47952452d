//! SQL of a service's own, committed with the unit: statements, and open transactions.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::{Class, Failure, Timestamp};

/// A statement on tables of the service's own, run as a part of the commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// One statement that reads or changes rows; `$1`, `$2`, … stand for the parameters. Static texts are
    /// prepared once, others each time.
    pub text: Cow<'static, str>,
    /// The parameters, from `$1` on.
    pub params: Vec<Param>,
    /// How many rows it must change (or return, if it returns rows); `None` when any number will do.
    pub rows: Option<u64>,
}

impl Statement {
    /// A statement that may change any number of rows.
    pub fn new(text: impl Into<Cow<'static, str>>, params: impl Params) -> Self {
        Self {
            text: text.into(),
            params: params.into_params(),
            rows: None,
        }
    }

    /// The same statement, which must change (or return) exactly so many rows.
    #[must_use]
    pub fn expecting(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Whether so many rows will do; else what the `number`th statement of a unit is told, counted from 1.
    ///
    /// # Errors
    ///
    /// [`Unmet::Rows`].
    pub fn met(&self, number: usize, changed: u64) -> Result<(), Unmet> {
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

/// Why a statement did not do what was asked of it. Nothing of its unit took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// It changed another number of rows.
    #[error("statement {statement} changed {changed} rows, {expected} expected")]
    Rows {
        /// Which of the unit's, from 1.
        statement: usize,
        /// Rows it changed.
        changed: u64,
        /// Rows it had to change.
        expected: u64,
    },
    /// Others hold what it needs, or it took too long.
    #[error("statement {statement} found what it needs locked, or took too long")]
    Busy {
        /// Which of the unit's, from 1.
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

/// A value handed to a statement. The database converts it to the type that the statement needs there.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating point number.
    Real(f64),
    /// A text, or anything that is written as one: UUIDs with hyphens, times as RFC 3339, decimals, JSON.
    Text(String),
    /// Bytes.
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

/// The parameters of a statement: an array, a vector, or a tuple of up to eight when their types differ.
pub trait Params {
    /// As values, in order.
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
            #[allow(non_snake_case, reason = "one variable a type parameter")]
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

/// An open transaction of the store's own kind, in which the unit is to be committed.
///
/// What it holds is used up by the first submission of the unit. Dropped before, it is rolled back.
#[derive(Clone)]
pub struct Companion(Arc<dyn Any + Send + Sync>);

impl Companion {
    /// For the store that can tell what `transaction` is.
    pub fn new<T: Any + Send + Sync>(transaction: T) -> Self {
        Self(Arc::new(transaction))
    }

    /// The transaction, if it is one of this kind.
    #[must_use]
    pub fn downcast<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Companion")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn parameters_of_different_types_come_as_a_tuple() {
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
    fn an_expectation_that_is_not_met_is_told_in_words() {
        let statement = Statement::new("UPDATE stock SET free = 0", ());
        assert_eq!(statement.met(1, 5), Ok(()));
        let unmet = statement
            .expecting(1)
            .met(2, 0)
            .expect_err("none is not one");
        let error = Error::from(unmet);
        let told = (error.class(), error.code(), error.to_string());
        let words = "statement 2 changed 0 rows, 1 expected".to_owned();
        assert_eq!(told, (Class::Retry, "rows_unexpected", words));
    }
}
