//! The kinds of wake-up, and the bells that this worker's parts wait for.

use tokio::sync::Notify;

/// Why a waiting part of a worker is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The leader's lease was released.
    LeaseReleased,
    /// A probe was requested.
    ProbeRequested,
    /// Settings were changed.
    SettingsChanged,
    /// Discovered servers were added, moved or removed.
    ServersChanged,
    /// A ban job can be claimed.
    BanJob,
}

impl Wake {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::LeaseReleased,
        Self::ProbeRequested,
        Self::SettingsChanged,
        Self::ServersChanged,
        Self::BanJob,
    ];

    /// The message on the channel. Neighbouring versions and the scripts use these words.
    fn word(self) -> &'static [u8] {
        match self {
            Self::LeaseReleased => b"released",
            Self::ProbeRequested => b"probe",
            Self::SettingsChanged => b"settings",
            Self::ServersChanged => b"servers",
            Self::BanJob => b"ban-job",
        }
    }

    /// The kind of a message; none for one that only a newer version knows.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|wake| wake.word() == message)
    }
}

/// The bells of one worker. Each keeps one ring until its one listener waits for it, so that none is missed between two waits.
#[derive(Debug, Default)]
pub(in crate::store) struct Wakes {
    bells: [Notify; Wake::ALL.len()],
}

impl Wakes {
    /// Wakes this worker's listener, now or when it next waits.
    pub fn ring(&self, wake: Wake) {
        self.bell(wake).notify_one();
    }

    pub(super) fn bell(&self, wake: Wake) -> &Notify {
        let [released, probe, settings, servers, ban_job] = &self.bells;
        match wake {
            Wake::LeaseReleased => released,
            Wake::ProbeRequested => probe,
            Wake::SettingsChanged => settings,
            Wake::ServersChanged => servers,
            Wake::BanJob => ban_job,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn every_kind_is_parsed_from_its_word_and_rings_its_own_bell() {
        let wakes = Wakes::default();
        for wake in Wake::ALL {
            assert_eq!(Wake::parse(wake.word()), Some(wake));
            wakes.ring(wake);
            let rung =
                Wake::ALL.into_iter().filter(|other| wakes.bell(*other).notified().now_or_never().is_some());
            assert_eq!(rung.collect::<Vec<_>>(), [wake]);
        }
        assert_eq!(Wake::parse(b"of a newer version"), None);
    }
}
