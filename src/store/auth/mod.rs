//! Who may log in: the account, the limits of its logins, the sessions, and each worker's near cache of them.

pub mod accounts;
pub mod limits;
mod messages;
pub(super) mod near_cache;
pub(super) mod networks;
pub mod sessions;
pub mod username;
