//! The code around every route.

mod accounted;
pub(super) mod host;
pub(super) mod idempotency;
pub(super) mod layers;
pub(super) mod origin;
pub(in crate::http) mod refused;
mod request_info;
mod route_metrics;
