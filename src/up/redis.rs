//! The private redis-server of `up`: on a unix socket, with an append-only file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::data::{DataDir, write_private};

/// Writes its configuration and returns the command that runs it.
///
/// # Errors
/// If the file cannot be written.
pub fn command(program: &Path, data: &DataDir) -> anyhow::Result<Vec<OsString>> {
    let folder = data.folder("redis");
    let text = format!(
        "# Written by `bangui up` at each start.\n\
         # No TCP port: only this user and root can open the socket.\n\
         port 0\n\
         unixsocket {socket}\n\
         unixsocketperm 700\n\
         dir {folder}\n\
         # Sessions and state survive a restart; nothing is ever evicted to make room.\n\
         appendonly yes\n\
         appendfsync everysec\n\
         save \"\"\n\
         maxmemory-policy noeviction\n\
         daemonize no\n\
         logfile \"\"\n",
        socket = quoted(&data.socket("redis"))?,
        folder = quoted(&folder)?,
    );
    let path = folder.join("redis.conf");
    write_private(&path, &text)?;
    Ok(vec![program.into(), path.into()])
}

/// The URL for the workers. `data.rs` makes sure that the socket's path needs no quoting.
#[must_use]
pub fn url(data: &DataDir) -> String {
    format!("redis+unix://{}", data.socket("redis").display())
}

/// Whether it answers commands: it may still be loading its file.
pub async fn answers(socket: PathBuf) -> bool {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.ok()?;
        Some(&answer == b"+PONG\r\n")
    };
    timeout(Duration::from_secs(1), ask).await.ok().flatten().unwrap_or(false)
}

/// A path as redis.conf reads it.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let Some(text) = path.to_str() else {
        bail!("{} is not UTF-8 text: choose another folder with --data-dir", path.display());
    };
    if text.contains(char::is_control) {
        bail!("{text:?} has control characters: choose another folder with --data-dir");
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_so_that_redis_reads_the_same() {
        assert_eq!(quoted(Path::new("/a b/\"c\"\\d")).unwrap(), r#""/a b/\"c\"\\d""#);
        assert!(quoted(Path::new("/a\nb")).is_err());
    }
}
