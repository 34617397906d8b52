//! A TCP proxy in front of a unix socket: the network between a worker and Redis, which tests break at will.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::redis::{USER, USER_PASSWORD};

/// What the network does with bytes and connections.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// Passes everything.
    Pass,
    /// Cuts every connection and refuses new ones.
    Refuse,
    /// Accepts connections and bytes, and answers nothing. A connection that has lost bytes stays lost, even when
    /// the network works again, as behind a firewall that forgot it.
    BlackHole,
    /// Delivers requests this much later, in order, even if the sender has given up by then.
    Delay(Duration),
    /// Passes replies, and drops messages of subscriptions (RESP3).
    SwallowMessages,
    /// The same, and the replies arrive this much later.
    LateReplies(Duration),
    /// Passes a request with these bytes in it, and loses its answer and all later ones of that connection.
    LoseAnswerTo(Vec<u8>),
    /// Replaces bytes in replies with others of the same length.
    Rewrite(Vec<u8>, Vec<u8>),
}

/// The proxy; it ends with its guard.
pub struct Proxy {
    pub address: SocketAddr,
    upstream: Arc<Mutex<PathBuf>>,
    mode: watch::Sender<Mode>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of `upstream`.
    pub async fn start(upstream: PathBuf, mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(mode);
        let upstream = Arc::new(Mutex::new(upstream));
        let task = tokio::spawn(accept(listener, address, Arc::clone(&upstream), receiver));
        Self { address, upstream, mode: sender, task }
    }

    /// Directs new connections to another Redis, and leaves open ones where they are: as HAProxy, a Service or a DNS name does.
    pub fn move_new_connections(&self, upstream: PathBuf) {
        *self.upstream.lock().unwrap() = upstream;
    }

    /// Changes the network, for open connections too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The address for `BANGUI_REDIS_URL`.
    pub fn redis_url(&self) -> String {
        format!("redis://{USER}:{USER_PASSWORD}@{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Refuse);
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    upstream: Arc<Mutex<PathBuf>>,
    mut mode: watch::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.expect("the proxy's port is still free"));
        }
        match &listener {
            None => {
                if mode.changed().await.is_err() {
                    return;
                }
            }
            Some(open) => tokio::select! {
                accepted = open.accept() => if let Ok((stream, _)) = accepted {
                    let upstream = upstream.lock().unwrap().clone();
                    tokio::spawn(serve(stream, upstream, mode.clone()));
                },
                changed = mode.changed() => if changed.is_err() {
                    return;
                },
            },
        }
    }
}

async fn serve(mut down: TcpStream, upstream: PathBuf, mut mode: watch::Receiver<Mode>) {
    let Ok(mut up) = UnixStream::connect(upstream).await else { return };
    let _ = down.set_nodelay(true);
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    let (mut questions, mut replies) = (Line::default(), Line::default());
    let (mut lost, mut unanswered, mut closed) = (false, false, false);
    loop {
        let now = mode.borrow_and_update().clone();
        if now == Mode::Refuse || (closed && questions.is_empty()) {
            return;
        }
        let (question, reply) = (questions.next_arrival(), replies.next_arrival());
        tokio::select! {
            changed = mode.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep_until(question), if !questions.is_empty() => {
                if questions.arrive(&mut up).await.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(reply), if !replies.is_empty() => {
                closed |= replies.arrive(&mut down).await.is_err();
            }
            read = down.read(&mut asked), if !closed => {
                // What was sent before the end still arrives.
                let Ok(read @ 1..) = read else { closed = true; continue };
                lost |= now == Mode::BlackHole;
                if let Mode::LoseAnswerTo(request) = &now {
                    unanswered |= asked[..read].windows(request.len()).any(|bytes| bytes == request);
                }
                let delay = if let Mode::Delay(delay) = now { delay } else { Duration::ZERO };
                if !lost && questions.carry(asked[..read].to_vec(), delay, &mut up).await.is_err() {
                    return;
                }
            }
            read = up.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                lost |= now == Mode::BlackHole;
                if let Mode::Rewrite(from, to) = &now {
                    rewrite(&mut answered[..read], from, to);
                }
                let passed = match now {
                    Mode::SwallowMessages | Mode::LateReplies(_) => without_messages(&answered[..read]),
                    _ => answered[..read].to_vec(),
                };
                let delay = if let Mode::LateReplies(delay) = now { delay } else { Duration::ZERO };
                if !lost && !unanswered && !closed {
                    closed |= replies.carry(passed, delay, &mut down).await.is_err();
                }
            }
        }
    }
}

/// The bytes in flight in one direction, in order, each with the time at which they arrive.
#[derive(Default)]
struct Line(VecDeque<(Instant, Vec<u8>)>);

impl Line {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next_arrival(&self) -> Instant {
        self.0.front().map_or_else(Instant::now, |(arrival, _)| *arrival)
    }

    async fn carry(
        &mut self,
        bytes: Vec<u8>,
        delay: Duration,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        if delay.is_zero() && self.is_empty() {
            // Without the timer, which counts whole milliseconds: a working network has next to no latency.
            return to.write_all(&bytes).await;
        }
        self.0.push_back((Instant::now() + delay, bytes));
        Ok(())
    }

    async fn arrive(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        match self.0.pop_front() {
            Some((_, bytes)) => to.write_all(&bytes).await,
            None => Ok(()),
        }
    }
}

/// Removes the messages; like replies they are small and come in one piece.
fn without_messages(mut bytes: &[u8]) -> Vec<u8> {
    const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n";
    let mut passed = Vec::new();
    while let Some(at) = bytes.windows(MESSAGE.len()).position(|window| window == MESSAGE) {
        passed.extend_from_slice(&bytes[..at]);
        bytes = &bytes[at + MESSAGE.len()..];
        // The channel and the text, each with its length before it.
        for _ in 0..2 {
            let line = bytes.windows(2).position(|end| end == b"\r\n").expect("a length");
            let length: usize = std::str::from_utf8(&bytes[1..line]).unwrap().parse().unwrap();
            bytes = &bytes[line + 2 + length + 2..];
        }
    }
    passed.extend_from_slice(bytes);
    passed
}

/// Replaces bytes. Replies are small and come in one piece, so a match never spans two reads.
fn rewrite(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len(), "a reply announces its length");
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            at += to.len();
        } else {
            at += 1;
        }
    }
}
