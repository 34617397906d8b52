//! For whom passkeys are: the name in `BANGUI_PUBLIC_URL`. Browsers make one only over TLS or for localhost: without such a URL there are
//! none.

use std::sync::Arc;
use std::time::Duration;

use url::Url;
use webauthn_rs::prelude::{Webauthn, WebauthnBuilder};

/// How long a ceremony may take.
pub const CEREMONY_FOR: Duration = Duration::from_secs(300);
/// How the passkeys are called beside the name of the site.
const SITE: &str = "bangui";

/// The relying party, if this installation can be one.
#[derive(Clone)]
pub struct Passkeys(Result<Arc<Webauthn>, NoPasskeys>);

/// Why there are no passkeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPasskeys {
    /// There is no public URL.
    #[error("BANGUI_PUBLIC_URL is not set")]
    NoUrl,
    /// Browsers make no passkeys for it.
    #[error("BANGUI_PUBLIC_URL has neither https nor the host localhost")]
    NoTls,
    /// It has an address instead of a name.
    #[error("BANGUI_PUBLIC_URL has an address instead of a name")]
    NoName,
}

impl Passkeys {
    /// For this public URL.
    #[must_use]
    pub fn of(public_url: Option<&Url>) -> Self {
        Self(build(public_url).map(Arc::new))
    }

    /// The relying party.
    ///
    /// # Errors
    /// Why there is none.
    pub fn ready(&self) -> Result<&Webauthn, NoPasskeys> {
        self.0.as_deref().map_err(|why| *why)
    }
}

fn build(public_url: Option<&Url>) -> Result<Webauthn, NoPasskeys> {
    let url = public_url.ok_or(NoPasskeys::NoUrl)?;
    let name = url.domain().ok_or(NoPasskeys::NoName)?;
    if url.scheme() != "https" && name != "localhost" {
        return Err(NoPasskeys::NoTls);
    }
    let builder = WebauthnBuilder::new(name, url).map_err(|_| NoPasskeys::NoName)?;
    builder.rp_name(SITE).timeout(CEREMONY_FOR).build().map_err(|_| NoPasskeys::NoName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_need_a_name_and_tls_or_localhost() {
        let of = |url: &str| Passkeys::of(Some(&url.parse().unwrap())).ready().err();
        assert_eq!(of("https://bangui.example"), None);
        assert_eq!(of("https://bangui.example:8443"), None);
        assert_eq!(of("http://localhost:8080"), None);
        assert_eq!(of("http://bangui.example"), Some(NoPasskeys::NoTls));
        assert_eq!(of("https://203.0.113.7"), Some(NoPasskeys::NoName));
        assert_eq!(Passkeys::of(None).ready().err(), Some(NoPasskeys::NoUrl));
    }
}
