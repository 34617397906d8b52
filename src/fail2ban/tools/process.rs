//! Runs a program to its end: no shell, a deadline, bounded output, and nothing of the agent's environment but `PATH`.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::error::ToolError;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long to read what it wrote last, once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a program left behind.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Output {
    /// All it printed, errors first, at most some 4,000 characters of it.
    pub(super) fn words(&self) -> String {
        let all = [String::from_utf8_lossy(&self.stderr), String::from_utf8_lossy(&self.stdout)].join("\n");
        let end = all.char_indices().nth(4000).map_or(all.len(), |(at, _)| at);
        all[..end].trim().to_owned()
    }
}

/// Runs a program; it is killed if it is late, or if the caller has gone.
pub(super) async fn run(
    program: &OsStr,
    arguments: &[OsString],
    stdin: Stdio,
    limit: Duration,
    max_output: usize,
) -> Result<Output, ToolError> {
    let name = || Path::new(program).display().to_string();
    let missing = |error: std::io::Error| ToolError::Missing { program: name(), reason: error.to_string() };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", search_path())
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(missing)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let pipes = (child.stdout.take(), child.stderr.take());
    let ending = async {
        let reading = async {
            tokio::join!(read(pipes.0, max_output, &mut stdout), read(pipes.1, max_output, &mut stderr))
        };
        tokio::pin!(reading);
        tokio::select! {
            // It has closed both pipes: it is about to end, or continues without output.
            _ = &mut reading => child.wait().await,
            status = child.wait() => {
                // A daemon that it left behind may hold them open forever.
                let _ = timeout(LAST_WORDS, reading).await;
                status
            }
        }
    };
    let ended = timeout(limit, ending).await;
    match ended {
        Ok(Ok(status)) => Ok(Output { success: status.success(), stdout, stderr }),
        Ok(Err(error)) => Err(missing(error)),
        Err(_) => Err(ToolError::Late { program: name(), limit }),
    }
}

/// Reads everything, but keeps only the first `limit` bytes.
async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: usize, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => kept.extend_from_slice(&chunk[..length.min(limit.saturating_sub(kept.len()))]),
        }
    }
}

/// The interpreter in the first line of a program on the `PATH`: the one whose modules that program uses.
pub(super) fn interpreter(program: &str) -> Result<PathBuf, ToolError> {
    let missing = |reason: String| ToolError::Missing { program: program.to_owned(), reason };
    let path = search_path();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
        missing("it is not on the PATH: fail2ban must be installed beside the agent".into())
    })?;
    let mut start = String::new();
    std::fs::File::open(&found)
        .and_then(|file| file.take(512).read_to_string(&mut start))
        .map_err(|error| missing(error.to_string()))?;
    let line = start.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or_default();
    let mut words = line.split_whitespace();
    let interpreter = match words.next() {
        Some(env) if env.ends_with("/env") => words.find(|word| !word.starts_with('-')),
        other => other,
    };
    let named = interpreter.filter(|word| word.contains("python"));
    named.map(PathBuf::from).ok_or_else(|| {
        missing(format!("{} does not name its Python interpreter in its first line", found.display()))
    })
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<Output, ToolError> {
        run(OsStr::new("sh"), &["-c".into(), script.into()], Stdio::null(), Duration::from_secs(2), 100).await
    }

    #[tokio::test]
    async fn output_is_bounded_the_environment_clean_and_the_late_are_killed() {
        let output = sh("echo err >&2; env; exit 3").await.unwrap();
        assert!(!output.success);
        assert!(output.words().starts_with("err\n") && !output.words().contains("CARGO"), "{output:?}");
        assert_eq!(sh("yes | head -c 100000").await.unwrap().stdout.len(), 100);
        assert_eq!(sh("echo on; sleep 4 & exit 0").await.map(|output| output.words()), Ok("on".into()));
        assert!(matches!(sh("exec sleep 60").await, Err(ToolError::Late { .. })));
        let none = run(OsStr::new("no-such-program"), &[], Stdio::null(), Duration::from_secs(1), 10).await;
        assert!(none.unwrap_err().to_string().starts_with("failed to run no-such-program"));
    }
}
