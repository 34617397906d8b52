//! Who may log in: the accounts, their invitations, the limits of logins, the sessions, tokens for programs, and each worker's near cache
//! of these two.

pub mod account_fields;
pub mod account_id;
pub mod accounts;
pub mod api_tokens;
pub mod factors;
pub mod invitations;
pub mod limits;
mod messages;
pub(super) mod near_cache;
pub(super) mod networks;
pub mod once;
pub mod passkeys;
pub mod provider_accounts;
pub mod provider_sessions;
pub mod provider_user;
pub mod sessions;
pub mod stored_passkey;
pub use crate::domain::username;
