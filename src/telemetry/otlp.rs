//! How traces reach the collector: HTTP of our own client, which already is in this program, on the exporter's own thread.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Runtime;

use crate::net::{Flood, http_client};

/// For one export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer; a collector says little.
const MAX_ANSWER: usize = 64 * 1024;

/// Failures a minute that have a line.
static FAILURES: Flood = Flood::of(1);

/// Sends what the exporter has packed. The exporter calls it from a thread of its own, which belongs to no runtime, one request after
/// the other: so it brings a runtime along.
pub struct Otlp {
    http: reqwest::Client,
    runtime: Runtime,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otlp")
    }
}

impl Otlp {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// If the system has no certificate authorities, or no runtime can be started.
    pub fn new() -> anyhow::Result<Self> {
        let http = http_client::with_tls()
            .timeout(TIMEOUT)
            // The runtime runs only while something is sent: nothing would notice that an idle connection was closed.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("bangui/", env!("CARGO_PKG_VERSION"), " (traces)"))
            .build()?;
        Ok(Self { http, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()? })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let mut answer = self.http.request(head.method, url).headers(head.headers).body(body).send().await?;
        let status = answer.status();
        let mut taken = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if taken.len() + chunk.len() > MAX_ANSWER {
                break;
            }
            taken.extend_from_slice(&chunk);
        }
        let mut response = Response::new(Bytes::from(taken));
        *response.status_mut() = status;
        Ok(response)
    }
}

/// The exporter itself drops what it cannot send without a word.
fn note(outcome: &Result<Response<Bytes>, HttpError>) {
    let reason = match outcome {
        Ok(response) if response.status().is_success() => return,
        Ok(response) => format!("the collector answered {}", response.status()),
        Err(error) => {
            let mut reason = error.to_string();
            let mut cause: Option<&dyn Error> = error.source();
            while let Some(next) = cause {
                reason = format!("{reason}: {next}");
                cause = next.source();
            }
            reason
        }
    };
    if let Some(more) = FAILURES.admit() {
        tracing::warn!(
            traces.failed_before = more,
            "failed to send traces to OTEL_EXPORTER_OTLP_ENDPOINT, and dropped them: {reason}"
        );
    }
}

impl HttpClient for Otlp {
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        let outcome = self.runtime.block_on(self.send(request));
        note(&outcome);
        Box::pin(std::future::ready(outcome))
    }
}
