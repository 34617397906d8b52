//! Who sends a request, and from where.

pub mod actor;
pub mod address;
pub mod allowed;
pub mod caller;
pub mod cookie;
pub mod permissions;
pub mod proxies;
