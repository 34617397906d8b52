//! A load balancer of our own: each connection goes to the next worker that accepts it, and is passed on byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it saw.
#[derive(Default)]
struct Seen {
    next: AtomicUsize,
    /// The worker of the last connection.
    last: Mutex<Option<SocketAddr>>,
    /// Everything that workers answered.
    answered: Mutex<Vec<u8>>,
}

/// The balancer; it ends with its guard.
pub struct Balancer {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Balancer {
    pub async fn start(workers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let of_task = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, workers.clone(), Arc::clone(&of_task)));
            }
        });
        Self { address, seen, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The worker that the last connection went to.
    pub fn last(&self) -> SocketAddr {
        self.seen.last.lock().unwrap().expect("a connection")
    }

    /// Whether a worker has answered with these bytes.
    pub fn has_answered(&self, text: &str) -> bool {
        self.seen.answered.lock().unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut down: TcpStream, workers: Vec<SocketAddr>, seen: Arc<Seen>) {
    let first = seen.next.fetch_add(1, Ordering::Relaxed);
    for worker in workers.iter().cycle().skip(first % workers.len()).take(workers.len()) {
        let Ok(mut up) = TcpStream::connect(worker).await else { continue };
        *seen.last.lock().unwrap() = Some(*worker);
        let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                read = down.read(&mut asked) => {
                    let Ok(read @ 1..) = read else { return };
                    if up.write_all(&asked[..read]).await.is_err() {
                        return;
                    }
                }
                read = up.read(&mut answered) => {
                    let Ok(read @ 1..) = read else { return };
                    seen.answered.lock().unwrap().extend_from_slice(&answered[..read]);
                    if down.write_all(&answered[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
