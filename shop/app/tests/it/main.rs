//! The shop as a program: its contracts, and the real shop in both its modes.

mod contracts;
mod documents;
mod real;
