//! From variables to the identity provider, and to who may log in with a password.

use secrecy::SecretString;
use url::Url;

use super::provider::{CALLBACK, PasswordLogin, ProviderConfig, is_trusted_transport};
use super::sources::Reader;
use super::values::Parsed;
use super::variables as vars;
use crate::domain::Username;
use crate::domain::group_roles::GroupRoles;

/// The issuer, as it was written.
pub(super) fn issuer(text: &str) -> Parsed<String> {
    let allowed = "must be the https:// address of the provider, exactly as its tokens have it in `iss`, without `?` and \
                   `#`; http:// only for this machine";
    let url = Url::parse(text).map_err(|error| format!("{allowed} ({error})"))?;
    let bare = url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if bare && is_trusted_transport(&url, true) { Ok(text.to_owned()) } else { Err(allowed.to_owned()) }
}

/// A word such as the id of a client: printable, and not long.
fn word(text: &str) -> Parsed<String> {
    let fits = text.len() <= 256 && text.chars().all(|c| !c.is_control());
    if fits { Ok(text.to_owned()) } else { Err("must be at most 256 printable characters".to_owned()) }
}

/// A name for a button.
fn name(text: &str) -> Parsed<String> {
    let fits = text.chars().count() <= 40 && text.chars().all(|c| !c.is_control());
    if fits { Ok(text.to_owned()) } else { Err("must be at most 40 printable characters".to_owned()) }
}

fn password_login(text: &str) -> Parsed<PasswordLogin> {
    let allowed = || "must be `on`, or `only:NAME` with the name of the one account that may".to_owned();
    match text.strip_prefix("only:") {
        _ if text == "on" => Ok(PasswordLogin::On),
        Some(name) => match Username::parse(name) {
            Ok(username) => Ok(PasswordLogin::Only(username)),
            Err(error) => Err(format!("{}: {error}", allowed())),
        },
        None => Err(allowed()),
    }
}

/// The provider, if there is one, and who may log in with a password.
pub(super) fn read(
    read: &mut Reader<'_>,
    public_url: Option<&Url>,
) -> (Option<ProviderConfig>, Option<PasswordLogin>) {
    let is_set = read.is_set(&vars::OIDC_ISSUER);
    let issuer = read.value(&vars::OIDC_ISSUER, issuer);
    let client_id = read.value(&vars::OIDC_CLIENT_ID, word);
    let client_secret = read.secret(&vars::OIDC_CLIENT_SECRET, |text, _| Ok(SecretString::from(text)));
    let groups_claim = read.value(&vars::OIDC_GROUPS_CLAIM, word);
    let roles = read.value(&vars::OIDC_ROLES, GroupRoles::parse);
    let name = read.value(&vars::OIDC_NAME, name);
    let login = read.value(&vars::PASSWORD_LOGIN, password_login);
    if let (Some(PasswordLogin::Only(username)), false) = (&login, is_set) {
        let allowed = "needs BANGUI_OIDC_ISSUER: without a provider, nobody else could log in".to_owned();
        read.note(vars::PASSWORD_LOGIN.name.to_owned(), Some(format!("only:{username}")), allowed);
    }
    if !is_set {
        let others = [&vars::OIDC_CLIENT_ID, &vars::OIDC_CLIENT_SECRET, &vars::OIDC_ROLES, &vars::OIDC_NAME];
        for variable in others {
            if read.is_set(variable) {
                let allowed = "is of no use without BANGUI_OIDC_ISSUER".to_owned();
                read.note(variable.name.to_owned(), None, allowed);
            }
        }
        return (None, login);
    }
    if client_id.is_none() {
        read.require(&vars::OIDC_CLIENT_ID, "it is the name that this installation has at the provider");
    }
    if roles.is_none() {
        read.require(
            &vars::OIDC_ROLES,
            "without a list of groups nobody could log in: for example bangui-admins=admin,web-team=operator@web-*",
        );
    }
    if public_url.is_none() {
        read.require(
            &vars::PUBLIC_URL,
            "the provider sends browsers back to /login/callback below it, and knows no other address",
        );
    }
    let provider = || {
        Some(ProviderConfig {
            issuer: issuer?,
            client_id: client_id?,
            client_secret,
            groups_claim: groups_claim?,
            roles: roles?,
            name: name?,
            callback: public_url?.join(CALLBACK).ok()?,
        })
    };
    (provider(), login)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_kept_as_it_was_written_and_is_https_or_this_machine() {
        for text in [
            "https://id.example",
            "https://id.example/",
            "https://id.example:8443/realms/a",
            "http://127.0.0.1:9000",
            "http://localhost:9000/x",
            "http://[::1]:1",
        ] {
            assert_eq!(issuer(text).unwrap(), text);
        }
        for text in [
            "http://id.example",
            "id.example",
            "https://",
            "https://u:p@id.example",
            "https://id.example/?a=b",
            "https://id.example/#a",
            "http://localhost.example",
            "ftp://id.example",
        ] {
            assert!(issuer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_for_everybody_or_for_one() {
        assert!(password_login("on").unwrap().admits("anna"));
        let only = password_login("only:admin").unwrap();
        assert!(only.admits("admin") && !only.admits("anna") && !only.admits("Admin"));
        for text in ["off", "only:", "only:Admin", "only: admin", "only:a,b", ""] {
            assert!(password_login(text).is_err(), "{text}");
        }
    }
}
