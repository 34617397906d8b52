//! The client against a scripted peer on a real unix socket: every way in which fail2ban can misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use super::*;

const PONG: &[u8] = b"\x80\x02K\x00U\x04pong\x86.<F2B_END_COMMAND>";

/// What a peer does with one connection: for each of these, it reads a request and sends these bytes; then it closes.
type Script = Vec<&'static [u8]>;

/// Sent instead of bytes: nothing more, and the connection stays open.
const SILENCE: &[u8] = b"";

struct Peer {
    folder: TempDir,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// The n-th connection gets the n-th script.
    fn start(scripts: Vec<Script>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            for script in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Relaxed);
                tokio::spawn(play(stream, script));
            }
        });
        Self { folder, connections }
    }

    fn client(&self) -> Client {
        Client::start(Options {
            max_reply: 10_000,
            queue: 2,
            ..Options::new(self.folder.path().join("sock"))
        })
    }
}

async fn play(mut stream: UnixStream, script: Script) {
    for part in script {
        let mut request = Vec::new();
        while !request.ends_with(codec::END) {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        if part == SILENCE {
            sleep(Duration::from_secs(60)).await;
        }
        for chunk in part.chunks(3000) {
            if stream.write_all(chunk).await.is_err() {
                return;
            }
        }
        if !part.ends_with(codec::END) && part.starts_with(b"\x80half") {
            sleep(Duration::from_secs(60)).await;
        }
    }
}

async fn ping(client: &Client) -> Result<Value, Fail2banError> {
    client.ask(Command::Ping, Instant::now() + Duration::from_millis(300)).await
}

fn is_pong(answer: &Result<Value, Fail2banError>) -> bool {
    matches!(answer, Ok(value) if value.as_str() == Some("pong"))
}

#[tokio::test]
async fn many_commands_share_one_connection() {
    let peer = Peer::start(vec![vec![PONG; 5]]);
    let client = peer.client();
    for _ in 0..5 {
        assert!(is_pong(&ping(&client).await));
    }
    assert_eq!(peer.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn after_a_restart_the_next_command_succeeds_on_a_new_connection() {
    let peer = Peer::start(vec![vec![PONG], vec![PONG]]);
    let client = peer.client();
    assert!(is_pong(&ping(&client).await));
    assert!(is_pong(&ping(&client).await), "the first connection is closed by now");
    assert_eq!(peer.connections.load(Relaxed), 2);
}

#[tokio::test]
async fn each_failure_has_its_own_error_and_the_next_command_gets_a_new_connection() {
    const HALF: &[u8] = b"\x80half a reply";
    const CUT: &[u8] = b"\x80\x02 cut off";
    const GARBAGE: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n";
    const NO_PICKLE: &[u8] = b"\x80\x02 garbage <F2B_END_COMMAND>";
    const STRANGE: &[u8] = b"\x80\x02K\x07.<F2B_END_COMMAND>";
    const ENDING: &[u8] = b"\x80\x02]U\x08SHUTDOWNa.<F2B_END_COMMAND>";
    const FLOOD: &[u8] = &[0x80; 20_000];
    for (script, busy, words) in [
        (SILENCE, true, "did not answer in time"),
        (HALF, true, "did not finish in time (13 bytes"),
        (CUT, false, "in the middle of a reply, after 10 bytes"),
        (GARBAGE, false, "SSH-2.0"),
        (NO_PICKLE, false, "reply to `ping` cannot be read"),
        (STRANGE, false, "does not know"),
        (ENDING, false, "shutting down"),
        (FLOOD, false, "larger than 10000 bytes"),
    ] {
        let peer = Peer::start(vec![vec![script], vec![PONG]]);
        let client = peer.client();
        let error = ping(&client).await.unwrap_err();
        assert_eq!(matches!(error, Fail2banError::Busy(_)), busy, "{error:?}");
        assert!(error.to_string().contains(words), "{error} should say: {words}");
        assert!(is_pong(&ping(&client).await), "after {error}");
        assert_eq!(peer.connections.load(Relaxed), 2);
    }
}

#[tokio::test]
async fn a_refusal_keeps_the_connection() {
    let refusal = b"\x80\x02K\x01cbuiltins\nValueError\nU\x03no!\x85R\x86.<F2B_END_COMMAND>";
    let peer = Peer::start(vec![vec![refusal, PONG]]);
    let client = peer.client();
    let refused = Fail2banError::Refused { class: "builtins.ValueError".into(), message: "no!".into() };
    assert_eq!(ping(&client).await, Err(refused));
    assert!(is_pong(&ping(&client).await));
}

#[tokio::test]
async fn nobody_there_is_down_at_once_and_a_full_queue_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let client = Client::start(Options::new(&path));
    assert!(ping(&client).await.unwrap_err().to_string().contains("there is no socket"));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = ping(&client).await.unwrap_err();
    assert!(matches!(&error, Fail2banError::Down(reason) if reason.contains("nobody listens")), "{error}");

    let peer = Peer::start(vec![vec![SILENCE]]);
    let client = peer.client();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { ping(&client).await }
            })
        })
        .collect();
    sleep(Duration::from_millis(50)).await;
    let _fourth = tokio::spawn({
        let client = client.clone();
        async move { ping(&client).await }
    });
    sleep(Duration::from_millis(50)).await;
    let error = ping(&client).await.unwrap_err();
    assert!(
        matches!(&error, Fail2banError::Busy(reason) if reason.contains("waiting for fail2ban")),
        "{error}"
    );
    for answer in waiting {
        assert!(matches!(answer.await.unwrap(), Err(Fail2banError::Busy(_))));
    }
}

#[tokio::test]
async fn a_listener_that_never_accepts_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = ping(&Client::start(Options::new(&path))).await.unwrap_err();
    assert!(matches!(error, Fail2banError::Busy(_)), "{error}");
}
