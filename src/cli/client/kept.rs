//! The login that is kept: a URL and a token in a file that only its owner reads.
//!
//! ```text
//! $XDG_CONFIG_HOME/bangui/login.json   mode 0600, replaced by a rename: it is never half written, and never wider
//! ```
//!
//! A file that others could have read or written is not used: somebody may know its token, or may have replaced its URL.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::ClientError;
use crate::config::values;

const NAME: &str = "login.json";
/// A URL and a token.
const MAX_BYTES: u64 = 16 * 1024;
/// Permissions that the file must not have: any for others, and execution for the owner.
const TOO_WIDE: u32 = 0o177;

/// A login.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The server.
    pub url: Url,
    /// The token of the session there, or a token for programs.
    pub token: SecretString,
}

/// What tokens for programs begin with: they are made and revoked on the page of the account, and no logout ends them.
const API_TOKEN: &str = "bgt_";

/// Whether this is a token for programs, and no session.
#[must_use]
pub fn is_api_token(token: &SecretString) -> bool {
    token.expose_secret().starts_with(API_TOKEN)
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    url: String,
    token: String,
}

/// Where a login is kept.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
    file: PathBuf,
}

impl Place {
    /// In this folder.
    ///
    /// # Errors
    /// If there is no such folder, since there is no home.
    pub fn in_folder(folder: Option<&PathBuf>) -> Result<Self, ClientError> {
        let folder = folder.cloned().ok_or_else(|| {
            ClientError::Usage(
                "neither XDG_CONFIG_HOME nor HOME names a folder to keep a login in: set one of them, or BANGUI_URL and BANGUI_TOKEN_FILE"
                    .to_owned(),
            )
        })?;
        Ok(Self { file: folder.join(NAME), folder })
    }

    /// The file, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        self.file.display().to_string()
    }

    /// The login, if one is kept.
    ///
    /// # Errors
    /// If the file belongs to somebody else, others may read or write it, or it cannot be read.
    pub fn read(&self) -> Result<Option<Kept>, ClientError> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
        let opened = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(&self.file);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(&error.to_string(), "remove it, and log in again")),
        };
        self.check(&file)?;
        let mut text = String::new();
        let read = (&mut file).take(MAX_BYTES).read_to_string(&mut text);
        let written = read.ok().and_then(|_| serde_json::from_str::<Written>(&text).ok());
        let kept = written.and_then(|Written { url, token }| {
            Some(Kept { url: values::public_url(&url).ok()?, token: token.into() })
        });
        // The parser's error would quote the file.
        kept.map(Some).ok_or_else(|| self.unusable("it is not a kept login", "remove it, and log in again"))
    }

    /// Refuses a file that somebody else may have read or written.
    fn check(&self, file: &File) -> Result<(), ClientError> {
        let meta =
            file.metadata().map_err(ClientError::local(format!("failed to inspect {}", self.shown())))?;
        let own = rustix::process::geteuid().as_raw();
        if !meta.is_file() {
            return Err(self.unusable("it is not a file", "remove it, and log in again"));
        }
        if meta.uid() != own {
            let why = format!("it belongs to the user with the id {}, not to you ({own})", meta.uid());
            return Err(self.unusable(&why, "remove it, and log in again"));
        }
        if meta.mode() & TOO_WIDE != 0 {
            let why = format!(
                "its mode is {:04o}, so that others may have read it or written to it",
                meta.mode() & 0o7777
            );
            return Err(self.unusable(&why, "log in again, which replaces it by one of mode 0600"));
        }
        Ok(())
    }

    fn unusable(&self, why: &str, remedy: &str) -> ClientError {
        ClientError::Usage(format!("the kept login {} is not used: {why}: {remedy}", self.shown()))
    }

    /// Keeps a login, and replaces the one before.
    ///
    /// # Errors
    /// If the file cannot be written; the one before is unchanged then.
    pub fn write(&self, kept: &Kept) -> Result<(), ClientError> {
        let written = Written { url: kept.url.to_string(), token: kept.token.expose_secret().to_owned() };
        let new = self.folder.join(format!(".{NAME}.{:016x}", rand::random::<u64>()));
        let replace = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(&written)?)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.file)
        };
        replace().map_err(|source| {
            // It may not exist.
            let _ = std::fs::remove_file(&new);
            ClientError::Local { what: format!("failed to write {}", self.shown()), source }
        })
    }

    /// Forgets the login.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn remove(&self) -> Result<(), ClientError> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ClientError::local(format!("failed to remove {}", self.shown()))(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn kept(token: &str) -> Kept {
        Kept { url: "https://bangui.example".parse().unwrap(), token: token.into() }
    }

    fn mode(place: &Place) -> u32 {
        std::fs::metadata(&place.file).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_login_is_kept_in_a_file_of_mode_0600_and_replaced_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::in_folder(Some(&home.path().join("a/bangui"))).unwrap();
        assert!(place.read().unwrap().is_none());
        place.write(&kept("bgs_1")).unwrap();
        std::fs::set_permissions(&place.file, Permissions::from_mode(0o644)).unwrap();
        place.write(&kept("bgs_2")).unwrap();
        assert_eq!(mode(&place), 0o600, "it is another file, of its own mode");
        assert_eq!(place.read().unwrap().unwrap().token.expose_secret(), "bgs_2");
        assert_eq!(std::fs::read_dir(&place.folder).unwrap().count(), 1, "nothing else is left");
        place.remove().unwrap();
        place.remove().unwrap();
        assert!(place.read().unwrap().is_none());
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::in_folder(Some(&home.path().to_owned())).unwrap();
        place.write(&kept("bgs_1")).unwrap();
        for wide in [0o640, 0o604, 0o620, 0o602, 0o700, 0o601] {
            std::fs::set_permissions(&place.file, Permissions::from_mode(wide)).unwrap();
            let refused = place.read().unwrap_err().to_string();
            assert!(refused.contains("mode") && !refused.contains("bgs_1"), "{wide:o}: {refused}");
        }
        std::fs::set_permissions(&place.file, Permissions::from_mode(0o400)).unwrap();
        assert!(place.read().unwrap().is_some(), "a narrower mode is fine");
    }

    #[test]
    fn a_file_of_another_owner_a_link_and_what_is_no_file_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::in_folder(Some(&home.path().to_owned())).unwrap();
        place.write(&kept("bgs_1")).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&place.file, Some(65_534), None).unwrap();
            let refused = place.read().unwrap_err().to_string();
            assert!(refused.contains("belongs to the user"), "{refused}");
        }
        let elsewhere = home.path().join("elsewhere");
        std::fs::rename(&place.file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &place.file).unwrap();
        assert!(place.read().is_err(), "a link");
        std::fs::remove_file(&place.file).unwrap();
        std::fs::create_dir(&place.file).unwrap();
        assert!(place.read().is_err(), "a folder");
    }
}
