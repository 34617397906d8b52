//! A real `bangui agent` on a unix socket.

use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::Value;

use super::process::{Child, bangui, program};
use super::{SOON, eventually, folder, http};

/// The token that workers and agents of the tests share.
pub const AGENT_TOKEN: &str = "integration-test-token-of-40-characters.";

/// A private agent.
pub struct Agent {
    folder: tempfile::TempDir,
    fail2ban: PathBuf,
    config: PathBuf,
    token: String,
    /// Additional environment variables, from the next start on.
    pub more: Vec<(&'static str, String)>,
    /// A program that runs it, with arguments, from the next start on: strace.
    pub under: Vec<String>,
    pub process: Option<Child>,
}

impl Agent {
    /// Starts an agent for the fail2ban at that socket.
    pub async fn start(fail2ban: &Path, config: &Path) -> Self {
        Self::start_with_token(fail2ban, config, AGENT_TOKEN).await
    }

    /// Starts an agent that wants this token.
    pub async fn start_with_token(fail2ban: &Path, config: &Path, token: &str) -> Self {
        let mut agent = Self {
            folder: folder(),
            fail2ban: fail2ban.to_owned(),
            config: config.to_owned(),
            token: token.to_owned(),
            more: Vec::new(),
            under: Vec::new(),
            process: None,
        };
        agent.start_again().await;
        agent
    }

    /// Starts it after a [`Self::kill`], on the same socket.
    pub async fn start_again(&mut self) {
        self.kill();
        let mut command = match &self.under[..] {
            [] => bangui("agent"),
            [tracer, arguments @ ..] => {
                let mut command = program(tracer);
                command.args(arguments).arg(env!("CARGO_BIN_EXE_bangui")).arg("agent");
                command
            }
        };
        command.env("BANGUI_AGENT_LISTEN", format!("unix:{}", self.socket().display()));
        command.env("BANGUI_AGENT_TOKEN", &self.token).env("BANGUI_LOG_FORMAT", "json");
        command.env("BANGUI_FAIL2BAN_SOCKET", &self.fail2ban).env("BANGUI_FAIL2BAN_CONFIG", &self.config);
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        self.process = Some(Child::start("bangui agent", command));
        eventually("the agent to answer", SOON, || async {
            self.get("/v1/info", &self.token).await.ok().filter(|(status, _)| status.is_success())
        })
        .await;
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// Its address for `BANGUI_SERVERS`.
    pub fn url(&self) -> String {
        format!("http+unix://{}", self.socket().display())
    }

    /// Asks it as a worker would.
    pub async fn get(&self, path: &str, token: &str) -> reqwest::Result<(StatusCode, Value)> {
        let http = http().unix_socket(self.socket()).build()?;
        let response = http.get(format!("http://agent{path}")).bearer_auth(token).send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Sends a body as a worker would.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, body).await
    }

    /// Sends a body with this method.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let http = http().unix_socket(self.socket()).build().unwrap();
        let method = method.parse().unwrap();
        let request =
            http.request(method, format!("http://agent{path}")).bearer_auth(&self.token).json(&body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// A client as workers use it.
    pub fn client(&self) -> bangui::agent::client::AgentClient {
        let token = bangui::config::AgentTokenConfig { tokens: vec![self.token.clone().into()], file: None };
        bangui::agent::client::AgentClient::new(&bangui::config::AgentUrl::Unix(self.socket()), &token, None)
            .unwrap()
    }

    /// `GET /v1/info`.
    pub async fn info(&self) -> bangui::agent::wire::Info {
        let (status, body) = self.get("/v1/info", &self.token).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value(body).unwrap()
    }
}
