//! The wake channel: messages that shorten a worker's waiting.
//!
//! ```text
//! script of a write ─PUBLISH─▶ follow_wakes ─▶ one bell for each Wake ─▶ campaign, probe requests, settings, servers, ban jobs
//! ```
//!
//! A message carries nothing but its kind: the worker that is woken reads the current state. Pub/sub loses messages (while a
//! connection is away, above all), so every waiter has a timer too, and all bells ring after each new subscription.
//!
//! A new kind goes into [`Wake`] and [`Wake::ALL`]; the script that publishes it names the same word.

mod bells;
mod channel;

pub use bells::Wake;
pub(super) use bells::Wakes;
