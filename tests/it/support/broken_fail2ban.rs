//! A fail2ban that is broken: a scripted unix socket, for what a real one cannot be made to do.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::folder;

/// What it answers to every command.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Bytes that are not a pickle, with the right end mark.
    Garbage,
    /// A pickle that calls a function, as an attacker would write it.
    Hostile,
    /// The first half of a correct reply, and then silence.
    HalfThenSilence,
    /// The first half of a correct reply, and then the end of the connection.
    HalfThenClosed,
    /// Nothing.
    Silence,
    /// The end of the connection at once.
    Closed,
    /// Bytes without an end.
    Endless,
    /// A well-formed reply of the wrong type.
    WrongShape,
    /// Half a megabyte that describes gigabytes: 80,000 calls share ten thousand arguments.
    Swelling,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Garbage,
        Self::Hostile,
        Self::HalfThenSilence,
        Self::HalfThenClosed,
        Self::Silence,
        Self::Closed,
        Self::Endless,
        Self::WrongShape,
        Self::Swelling,
    ];
}

/// The broken fail2ban; it ends with its guard.
pub struct BrokenFail2ban {
    folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

const END: &[u8] = b"<F2B_END_COMMAND>";

impl BrokenFail2ban {
    pub fn start(fault: Fault) -> Self {
        let folder = folder();
        let listener = UnixListener::bind(folder.path().join("f2b.sock")).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, fault));
            }
        });
        Self { folder, task }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("f2b.sock")
    }
}

impl Drop for BrokenFail2ban {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn swelling() -> Vec<u8> {
    let mut pickle = b"\x80\x04K\x00cos\nsystem\nq\x00(".to_vec();
    pickle.extend([b'N'; 10_000]);
    pickle.extend(b"tq\x01(");
    pickle.extend(b"h\x00h\x01R".repeat(80_000));
    pickle.extend(b"t\x86.");
    pickle.extend(END);
    pickle
}

async fn answer(mut stream: tokio::net::UnixStream, fault: Fault) {
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {
        // (0, 'pong') in protocol 2, as a healthy fail2ban answers a ping.
        let healthy = [b"\x80\x02K\x00X\x04\x00\x00\x00pong\x86.".as_slice(), END].concat();
        let reply = match fault {
            Fault::Garbage => [b"\xff\xfe this is no pickle \x00".as_slice(), END].concat(),
            Fault::Hostile => [b"cos\nsystem\n(S'touch hacked'\ntR.".as_slice(), END].concat(),
            Fault::HalfThenSilence | Fault::HalfThenClosed => healthy[..8].to_vec(),
            Fault::Silence => continue,
            Fault::Closed => return,
            Fault::Endless => vec![b'A'; 1 << 20],
            Fault::Swelling => swelling(),
            Fault::WrongShape => [b"\x80\x02]K\x07a.".as_slice(), END].concat(),
        };
        loop {
            if stream.write_all(&reply).await.is_err() {
                return;
            }
            if !matches!(fault, Fault::Endless) {
                break;
            }
        }
        if matches!(fault, Fault::HalfThenClosed) {
            return;
        }
    }
}
