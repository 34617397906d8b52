//! Servers that do the same work as an authenticated `GET /api/v1/session` of bangui, or less: `peers KIND`.
//!
//! | kind | what it does for a request |
//! |---|---|
//! | `bare` | axum: answers |
//! | `get` | axum: one `GET` over one shared connection to Redis, then answers |
//! | `tower-sessions` | axum: loads a session from Redis, then answers |
//! | `axum-login` | axum: loads a session and its user, then answers |
//! | `actix-session` | actix-web: loads a session from Redis, then answers |
//!
//! The answer is the one in the file `PEER_ANSWER` (the headers and the body that bangui sent), or two bytes without it. It
//! is made once: a request only clones it. `POST /login` begins a session. The first line on standard output is the address.

mod answer;
mod bare;
mod login;
mod on_actix;
mod sessions;

use std::net::SocketAddr;

/// The address of Redis, which the bench passes.
fn redis_url() -> String {
    std::env::var("PEER_REDIS_URL").expect("PEER_REDIS_URL names the Redis")
}

/// Prints where this server listens, for the bench.
fn listening(address: SocketAddr) {
    println!("{address}");
}

/// Serves an axum router until the process is killed.
async fn serve(router: axum::Router) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listening(listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("serves until it is killed");
}

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_default();
    if kind == "actix-session" {
        return on_actix::run();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        serve(match kind.as_str() {
            "bare" => bare::router(),
            "get" => bare::router_with_get().await,
            "tower-sessions" => sessions::router().await,
            "axum-login" => login::router().await,
            other => panic!("there is no peer {other:?}"),
        })
        .await;
    });
}
