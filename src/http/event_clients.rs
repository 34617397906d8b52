//! The clients that follow the events of one worker, with a limit in all and one for each session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::SessionId;

/// The maximum number of clients that follow the events of one worker.
pub const MAX_EVENT_CLIENTS: usize = 1_000;
/// The maximum number of one session: more tabs than anybody opens, and far fewer than would keep others out.
pub const MAX_EVENT_CLIENTS_OF_SESSION: usize = 20;

/// The number of clients, by session.
#[derive(Debug, Default)]
pub struct EventClients(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of_session: HashMap<SessionId, usize>,
}

/// Why there is no place for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The worker has as many as it may.
    Worker,
    /// The session has as many as it may.
    Session,
}

/// One client's place, counted while it is taken.
#[derive(Debug)]
pub struct EventPlace {
    clients: Arc<EventClients>,
    session: SessionId,
}

impl EventClients {
    /// Takes a place for a client of this session.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn take(self: &Arc<Self>, session: SessionId) -> Result<EventPlace, NoPlace> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= MAX_EVENT_CLIENTS {
            return Err(NoPlace::Worker);
        }
        let theirs = counts.of_session.entry(session).or_default();
        if *theirs >= MAX_EVENT_CLIENTS_OF_SESSION {
            return Err(NoPlace::Session);
        }
        *theirs += 1;
        counts.all += 1;
        metrics::gauge!("bangui_event_clients").increment(1.0);
        Ok(EventPlace { clients: Arc::clone(self), session })
    }
}

impl Drop for EventPlace {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(theirs) = counts.of_session.get_mut(&self.session) {
            *theirs -= 1;
            if *theirs == 0 {
                counts.of_session.remove(&self.session);
            }
        }
        metrics::gauge!("bangui_event_clients").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SessionToken;

    fn session() -> SessionId {
        SessionToken::fresh(crate::store::AccountId::ADMIN).unwrap().id()
    }

    #[test]
    fn a_session_has_20_places_and_leaves_the_others_to_others() {
        let clients = Arc::new(EventClients::default());
        let (one, other) = (session(), session());
        let mut held: Vec<_> = (0..20).map(|_| clients.take(one).unwrap()).collect();
        assert_eq!(clients.take(one).unwrap_err(), NoPlace::Session);
        drop(clients.take(other).unwrap());
        held.pop();
        held.push(clients.take(one).unwrap());
        while let Ok(place) = clients.take(session()) {
            held.push(place);
        }
        assert_eq!((held.len(), clients.take(other).unwrap_err()), (1_000, NoPlace::Worker));
        drop(held);
        let counts = clients.0.lock().unwrap();
        assert!(counts.all == 0 && counts.of_session.is_empty(), "{counts:?}");
    }
}
