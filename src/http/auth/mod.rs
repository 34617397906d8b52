//! Who sends a request, and from where.

pub mod address;
pub(super) mod attempt;
pub(super) mod author;
pub mod cookie;
