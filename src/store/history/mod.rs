//! What happened: events and the audit, each a Redis stream.

pub mod audit;
pub mod events;
pub mod stream;
