//! A child's output, kept in a file of bounded size; its last lines stay in memory for when it dies.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::data::open_options;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::domain::printable::printable;

/// At this size the file becomes `NAME.log.1`, replacing the one before.
const MAX_FILE_SIZE: u64 = 8 * 1024 * 1024;
const MAX_LINE_LENGTH: u64 = 16 * 1024;
const KEPT_LINES: usize = 5;

/// One child's log, over all its restarts. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    path: PathBuf,
    last: Arc<Mutex<VecDeque<String>>>,
}

impl Log {
    /// A log that is written to `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Arc::default() }
    }

    /// The last lines, oldest first.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Copies until the writer closes its end. A full disk only loses log lines: the child never waits.
    pub async fn copy(self, from: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(from);
        let mut file = self.open();
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(MAX_LINE_LENGTH).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            // Children log what strangers send: it must not control a pager or the terminal of `up`.
            let text = String::from_utf8_lossy(&line);
            let text = printable(text.trim_end_matches(['\n', '\r']));
            self.remember(&text);
            if let Some(open) = &mut file {
                let _ = open.write_all(format!("{text}\n").as_bytes());
                if open.metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE_SIZE) {
                    let _ = fs::rename(&self.path, self.path.with_extension("log.1"));
                    file = self.open();
                }
            }
        }
    }

    fn open(&self) -> Option<File> {
        open_options().create(true).append(true).open(&self.path).ok()
    }

    fn remember(&self, line: &str) {
        let text = line.trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_and_the_last_ones_are_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("x.log"));
        let text: String = (0..9).map(|n| format!("line {n}\n")).collect();
        log.clone().copy(format!("{text}end").as_bytes()).await;
        assert_eq!(fs::read_to_string(folder.path().join("x.log")).unwrap(), format!("{text}end\n"));
        assert_eq!(log.last_lines(), ["line 5", "line 6", "line 7", "line 8", "end"]);
    }

    #[tokio::test]
    async fn no_output_of_a_child_controls_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("x.log"));
        log.clone().copy(&b"a \x1b[2Jb\r\nc\x9b\n"[..]).await;
        let expected = ["a \\u{1b}[2Jb", "c\u{fffd}"];
        assert_eq!(log.last_lines(), expected);
        assert_eq!(fs::read_to_string(folder.path().join("x.log")).unwrap(), expected.join("\n") + "\n");
    }

    #[tokio::test]
    async fn the_file_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("x.log"));
        log.copy("x".repeat(20 * 1024 * 1024).as_bytes()).await;
        for name in ["x.log", "x.log.1"] {
            assert!(
                fs::metadata(folder.path().join(name)).unwrap().len() <= MAX_FILE_SIZE + MAX_LINE_LENGTH + 1,
                "{name}"
            );
        }
    }
}
