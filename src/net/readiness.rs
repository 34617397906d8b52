//! Asks a worker whether it is ready: with one request, and never for longer than two seconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::http_client;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks `url` (its `/readyz` if it has no path), or `/readyz` of the worker that listens on `listen`; returns the line to print if it
/// is ready.
///
/// # Errors
/// If it is not ready, or did not answer in time.
pub async fn ask(url: Option<&str>, listen: SocketAddr) -> anyhow::Result<String> {
    let url = url.map_or_else(|| format!("http://{}", reachable(listen)), str::to_owned);
    let mut url: reqwest::Url = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
    if url.path() == "/" {
        url.set_path("/readyz");
    }
    let client = http_client::of(&url).timeout(TIMEOUT).build().context("failed to build the HTTP client")?;
    let answer =
        client.get(url.clone()).send().await.with_context(|| format!("not ready: {url} does not answer"))?;
    let status = answer.status();
    if !status.is_success() {
        let body = answer.text().await.unwrap_or_default();
        let reason: String = body.chars().filter(|c| !c.is_control()).take(300).collect();
        bail!("not ready: {url} answered {status}: {reason}");
    }
    Ok(format!("ready: {url} answered {status}"))
}

/// Where to reach a listener from its own machine: a wildcard address is no destination.
#[must_use]
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `response` and ends.
    fn one_answer(response: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _ = peer.read(&mut [0; 1024]);
            let _ = peer.write_all(response.as_bytes());
        });
        address
    }

    #[tokio::test]
    async fn a_ready_worker_gives_a_line_and_any_other_an_error_with_the_reason() {
        let ready = one_answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert!(ask(None, ready).await.unwrap().starts_with("ready: http://127.0.0.1:"));
        let draining = one_answer(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\nconnection: close\r\n\r\ndraining",
        );
        let error = ask(None, draining).await.unwrap_err();
        assert!(error.to_string().contains("503") && error.to_string().contains("draining"), "{error}");
        let nobody = ask(Some("http://127.0.0.1:1/readyz"), draining).await.unwrap_err();
        assert!(nobody.to_string().contains("does not answer"), "{nobody}");
    }

    #[test]
    fn a_wildcard_is_asked_through_loopback() {
        for (listen, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
