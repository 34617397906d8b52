//! What lies around every route.

pub(super) mod host;
pub(super) mod idempotency;
pub(super) mod layers;
pub(super) mod origin;
pub(in crate::http) mod refused;
