//! How workers and agents authenticate each other: from variables to checked values, for both ends.

use std::path::PathBuf;

use super::sources::Reader;
use super::variables as vars;
use super::{
    AgentCredentials, AgentListen, AgentTlsConfig, AgentTokenConfig, AgentUrl, Servers, WorkerCertConfig,
    secrets, values,
};

pub(super) fn agent_token(read: &mut Reader<'_>) -> Option<AgentTokenConfig> {
    read.secret(&vars::AGENT_TOKEN, |text, file| {
        let tokens = secrets::agent_tokens(text)?;
        Ok(AgentTokenConfig { tokens, file: file.map(PathBuf::from) })
    })
}

pub(super) fn agents(read: &mut Reader<'_>) -> (Servers, AgentCredentials) {
    let servers = read.value(&vars::SERVERS, values::servers).unwrap_or_default();
    let token = agent_token(read);
    let ca = read.value(&vars::AGENT_CA, values::absolute_path);
    let worker_cert = worker_cert(read);
    // A wrong value is reported already, and an empty one counts as unset.
    let certified = worker_cert.is_some();
    if servers.groups.iter().any(|group| group.tls && !group.first_use) && ca.is_none() {
        read.require(
            &vars::AGENT_CA,
            "agents behind ?discover=dns are authenticated by their certificates alone, and anyone can get a certificate from \
             a public CA: name a CA that signs agents and nothing else, or pin the certificate that each agent shows first \
             with &trust=first-use",
        );
    }
    if servers.groups.iter().any(|group| group.first_use && !certified) {
        read.require(
            &vars::WORKER_CERT,
            "with trust=first-use an impostor that answers first would learn the token: give the workers a certificate instead",
        );
    }
    let sent = |https: bool, shared: bool| !https || shared || !certified;
    let listed =
        servers.listed.iter().any(|one| sent(matches!(one.url, AgentUrl::Https(_)), one.shared_token));
    if (listed || servers.groups.iter().any(|group| sent(group.tls, group.shared_token))) && token.is_none() {
        read.require(&vars::AGENT_TOKEN, "the agents in BANGUI_SERVERS refuse requests without their token");
    }
    (servers, AgentCredentials { token, ca, worker_cert })
}

fn worker_cert(read: &mut Reader<'_>) -> Option<WorkerCertConfig> {
    let cert = read.value(&vars::WORKER_CERT, values::absolute_path);
    let key = read.value(&vars::WORKER_KEY, values::absolute_path);
    match (read.is_set(&vars::WORKER_CERT), read.is_set(&vars::WORKER_KEY)) {
        (true, false) => {
            read.require(
                &vars::WORKER_KEY,
                "BANGUI_WORKER_CERT is set: name the file of its private key as well",
            );
        }
        (false, true) => {
            read.require(
                &vars::WORKER_CERT,
                "BANGUI_WORKER_KEY is set: name the file of its certificate as well",
            );
        }
        _ => {}
    }
    Some(WorkerCertConfig { cert: cert?, key: key? })
}

/// Certificate and key go together, and beyond loopback they are required: tokens and addresses would be sent
/// unencrypted.
pub(super) fn agent_tls(read: &mut Reader<'_>, listen: Option<&AgentListen>) -> Option<AgentTlsConfig> {
    let cert = read.value(&vars::AGENT_TLS_CERT, values::absolute_path);
    let key = read.value(&vars::AGENT_TLS_KEY, values::absolute_path);
    match (read.is_set(&vars::AGENT_TLS_CERT), read.is_set(&vars::AGENT_TLS_KEY)) {
        (true, false) => read.require(
            &vars::AGENT_TLS_KEY,
            "BANGUI_AGENT_TLS_CERT is set: name the file of its private key as well",
        ),
        (false, true) => read.require(
            &vars::AGENT_TLS_CERT,
            "BANGUI_AGENT_TLS_KEY is set: name the file of its certificate as well",
        ),
        (false, false) => {
            if let Some(AgentListen::Tcp(address)) = listen
                && !address.ip().is_loopback()
            {
                let allowed = "is not a loopback address, so the agent must use TLS: set BANGUI_AGENT_TLS_CERT and \
                               BANGUI_AGENT_TLS_KEY, or listen on unix:/path or 127.0.0.1";
                read.note(vars::AGENT_LISTEN.name.to_owned(), Some(address.to_string()), allowed.to_owned());
            }
        }
        (true, true) => {}
    }
    Some(AgentTlsConfig { cert: cert?, key: key? })
}
