//! The simulation of the shop, and the order services on the model under the seeded executor.

mod checkout;
mod flash;
mod replayed;
mod simulated;
mod world;
