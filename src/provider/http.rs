//! How this worker asks the provider: HTTP of our own client, with a bound for everything that a provider could draw out.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse, http};
use url::Url;

use crate::config::provider::is_trusted_transport;
use crate::net::http_client;

/// For one request, from the first byte to the last.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer: a set of keys with certificates has some kilobytes each.
const MAX_ANSWER: usize = 256 * 1024;

/// Asks the provider.
pub(super) struct ProviderHttp {
    client: reqwest::Client,
    /// Whether the issuer is this machine: then its addresses may be `http://` to this machine too.
    this_machine: bool,
}

/// Why the provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No answer, or not in time.
    #[error("{}", causes(.0))]
    Failed(#[from] reqwest::Error),
    /// The provider names an address that is not to be asked.
    #[error("{0} is not https://")]
    Transport(Url),
    /// The answer has no end.
    #[error("its answer has more than {} KiB", MAX_ANSWER / 1024)]
    TooLong,
    /// A request that cannot be.
    #[error("the provider's metadata names a URL that cannot be used: {0}")]
    Address(#[from] url::ParseError),
    /// An answer that cannot be.
    #[error("an answer with an invalid header")]
    Answer(#[from] http::Error),
}

/// An error of reqwest with its causes: its own text leaves them out.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

impl ProviderHttp {
    pub fn new(this_machine: bool) -> reqwest::Result<Self> {
        // A provider that moved says so to whoever configures it; a redirect, which is not followed, could lead anywhere.
        let client = http_client::with_tls()
            .timeout(TIMEOUT)
            .user_agent(concat!("bangui/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, this_machine })
    }

    /// Whether an address that the provider names may be used.
    pub fn admits(&self, url: &Url) -> bool {
        is_trusted_transport(url, self.this_machine)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let url: Url = head.uri.to_string().parse()?;
        if !self.admits(&url) {
            return Err(HttpError::Transport(url));
        }
        let mut answer =
            self.client.request(head.method, url).headers(head.headers).body(body).send().await?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut taken = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if taken.len() + chunk.len() > MAX_ANSWER {
                return Err(HttpError::TooLong);
            }
            taken.extend_from_slice(&chunk);
        }
        Ok(response.body(taken)?)
    }
}

impl<'c> AsyncHttpClient<'c> for ProviderHttp {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}
