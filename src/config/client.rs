//! Which server the commands for people ask, and with which token; and where a login is kept.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::errors::ConfigErrors;
use super::roles::{Loaded, load};
use super::sources::{Environment, Flags};
use super::values::{self, Parsed};
use super::variables as vars;

/// No token of bangui is longer.
const MAX_TOKEN_BYTES: usize = 512;

/// What the commands for people are configured with.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The server, if it is named.
    pub url: Option<Url>,
    /// The token for that server, if there is one.
    pub token: Option<SecretString>,
    /// The folder for the login that is kept; `None` without a home.
    pub folder: Option<PathBuf>,
}

/// The configuration of the commands for people.
///
/// # Errors
/// With every error in the configuration.
pub fn client(environment: &Environment, flags: &Flags) -> Result<Loaded<ClientConfig>, ConfigErrors> {
    load(environment, flags, |mut read| {
        let url = read.value(&vars::URL, values::public_url);
        let token = read.secret(&vars::TOKEN, |text, _| token(text));
        if token.is_some() && url.is_none() {
            read.require(&vars::URL, "BANGUI_TOKEN is sent only to the URL in BANGUI_URL");
        }
        read.finish(|| Some(ClientConfig { url, token, folder: folder(environment) }))
    })
}

/// A token as it can be sent in a header.
fn token(text: &str) -> Parsed<SecretString> {
    let fits = text.len() <= MAX_TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.into()).ok_or_else(|| {
        format!("must be a token: up to {MAX_TOKEN_BYTES} printable ASCII characters without spaces")
    })
}

/// As the XDG base directory specification says: a relative path is ignored.
fn folder(environment: &Environment) -> Option<PathBuf> {
    let absolute = |name| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    folder.map(|folder| folder.join("bangui"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ClientConfig, ConfigErrors> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        let environment = Environment { variables: variables.collect(), ..Environment::default() };
        client(&environment, &Flags::new()).map(|loaded| loaded.config)
    }

    #[test]
    fn a_token_without_its_server_is_refused_and_nothing_at_all_is_fine() {
        assert!(read(&[]).unwrap().url.is_none());
        let refused = read(&[("BANGUI_TOKEN", "bgs_x")]).unwrap_err().to_string();
        assert!(refused.contains("BANGUI_URL") && !refused.contains("bgs_x"), "{refused}");
        let both = read(&[("BANGUI_TOKEN", "bgs_x"), ("BANGUI_URL", "https://bangui.example")]).unwrap();
        assert!(both.token.is_some());
    }

    #[test]
    fn what_is_no_url_of_a_server_or_no_token_is_refused() {
        for wrong in
            ["bangui.example", "ftp://a", "https://u:p@a", "https://a/path", "https://a?x", "unix:/x"]
        {
            assert!(read(&[("BANGUI_URL", wrong)]).is_err(), "{wrong}");
        }
        for wrong in ["two words", "\u{e9}", "a\nb", "", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(read(&[("BANGUI_URL", "https://a"), ("BANGUI_TOKEN", wrong)]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_login_is_kept_where_xdg_says() {
        let folder = |variables| read(variables).unwrap().folder;
        assert_eq!(folder(&[]), None);
        assert_eq!(folder(&[("HOME", "/home/u")]), Some("/home/u/.config/bangui".into()));
        let both = [("HOME", "/home/u"), ("XDG_CONFIG_HOME", "/c")];
        assert_eq!(folder(&both), Some("/c/bangui".into()));
        let relative = [("HOME", "/home/u"), ("XDG_CONFIG_HOME", "c")];
        assert_eq!(folder(&relative), Some("/home/u/.config/bangui".into()));
    }
}
