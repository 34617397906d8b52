//! Checks the log files that jails read: whether they are there, how large they are, when they were last written to.
//!
//! What fail2ban sees counts: its process may see other files than the agent (a container, a private `/tmp`), so they are looked up
//! under `/proc/PID/root`. If the kernel does not allow that, the agent's own view is used, and a file only counts as missing while
//! its folder exists. In another process namespace nothing is known.
//!
//! A file system may hang: one look at a time, in a separate thread, and no caller waits for it beyond [`LOOK_TIMEOUT`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::findings::jails::LogFile;

/// The most files that are checked; nothing is known about any others.
const MAX_FILES: usize = 1_000;
/// A look that takes longer has failed.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at log files, one look at a time.
#[derive(Debug, Clone)]
pub(in crate::agent) struct LogLook(Arc<Semaphore>);

impl Default for LogLook {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl LogLook {
    /// The files by path, as the process `pid` sees them. Empty if the previous check has not ended yet.
    pub(in crate::agent) async fn at(
        &self,
        paths: BTreeSet<String>,
        pid: Option<i32>,
    ) -> BTreeMap<String, LogFile> {
        let Some(pid) = pid else { return BTreeMap::new() };
        let Ok(place) = Arc::clone(&self.0).try_acquire_owned() else { return BTreeMap::new() };
        let look = tokio::task::spawn_blocking(move || {
            let _place = place;
            let root = Root::of(pid);
            let look = |path: String| (path.clone(), root.look(path));
            paths.into_iter().take(MAX_FILES).map(look).collect()
        });
        timeout(LOOK_TIMEOUT, look).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// The root below which paths are looked up.
struct Root {
    folder: PathBuf,
    /// Whether it is what fail2ban itself sees.
    is_exact: bool,
}

impl Root {
    fn of(pid: i32) -> Self {
        let folder = PathBuf::from(format!("/proc/{pid}/root"));
        match std::fs::metadata(folder.join("proc")) {
            Ok(_) => Self { folder, is_exact: true },
            Err(_) => Self { folder: PathBuf::from("/"), is_exact: false },
        }
    }

    fn look(&self, path: String) -> LogFile {
        let Some(relative) = path.strip_prefix('/') else { return LogFile { path, ..LogFile::default() } };
        let at = self.folder.join(relative.trim_start_matches('/'));
        match std::fs::metadata(&at) {
            Ok(file) => {
                let age =
                    file.modified().ok().map(|written| match SystemTime::now().duration_since(written) {
                        Ok(age) => i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
                        // Written in the future: as fresh as can be.
                        Err(_) => 0,
                    });
                LogFile { path, missing: false, size: Some(file.len()), age_seconds: age }
            }
            Err(error) => {
                let folder_is_there = || at.parent().is_some_and(Path::is_dir);
                let missing = error.kind() == ErrorKind::NotFound && (self.is_exact || folder_is_there());
                LogFile { path, missing, ..LogFile::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    async fn look(path: &Path, pid: Option<i32>) -> Option<LogFile> {
        let path = path.display().to_string();
        LogLook::default().at([path.clone()].into(), pid).await.remove(&path)
    }

    #[tokio::test]
    async fn a_log_is_there_with_size_and_age_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a log");
        assert!(look(&log, Some(own())).await.unwrap().missing);
        std::fs::write(&log, "line\n").unwrap();
        let two_days = SystemTime::now() - Duration::from_secs(2 * 86_400);
        std::fs::File::options().write(true).open(&log).unwrap().set_modified(two_days).unwrap();
        let found = look(&log, Some(own())).await.unwrap();
        assert_eq!((found.missing, found.size), (false, Some(5)));
        assert!((172_800..172_900).contains(&found.age_seconds.unwrap()), "{found:?}");
    }

    #[tokio::test]
    async fn in_another_process_namespace_and_for_a_path_that_is_not_absolute_nothing_is_known() {
        assert_eq!(look(Path::new("/etc/hostname"), None).await, None);
        assert!(!look(Path::new("relative"), Some(own())).await.unwrap().is_known());
    }

    #[test]
    fn with_the_agents_own_view_a_file_is_missing_only_while_its_folder_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root { folder: folder.path().to_owned(), is_exact: false };
        assert!(root.look("/gone.log".to_owned()).missing);
        assert!(!root.look("/no-folder/gone.log".to_owned()).missing);
        let exact = Root { is_exact: true, ..root };
        assert!(exact.look("/no-folder/gone.log".to_owned()).missing);
    }

    #[tokio::test]
    async fn while_a_look_hangs_no_other_one_begins() {
        let look = LogLook::default();
        let _hanging = Arc::clone(&look.0).try_acquire_owned().unwrap();
        assert_eq!(look.at(["/etc/hostname".to_owned()].into(), Some(own())).await, BTreeMap::new());
    }
}
