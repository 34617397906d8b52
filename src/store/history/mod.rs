//! What happened: events and the audit, each a Redis stream.

pub mod audit;
pub mod audit_pages;
pub mod chain;
pub mod events;
pub mod mark;
pub mod stream;
pub mod trail;
