//! What stands in front of a worker and remembers its answers, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};

use super::http;

struct Inner {
    worker: SocketAddr,
    http: reqwest::Client,
    answers: Mutex<Vec<String>>,
}

/// The front; it ends with its guard.
pub struct Front {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    pub async fn start(worker: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner { worker, http: http().build().unwrap(), answers: Mutex::default() });
        let router = axum::Router::new().fallback(pass).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answers since the last time.
    pub fn answers(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.answers.lock().unwrap())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(front): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut headers = HeaderMap::new();
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        headers.extend(parts.headers.get(&name).map(|value| (name, value.clone())));
    }
    let url = format!("http://{}{}", front.worker, parts.uri);
    let answer = front.http.request(parts.method, url).headers(headers).body(body).send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    front.answers.lock().unwrap().push(text.clone());
    (status, text).into_response()
}
