//! A fail2ban that answers garbage, half a reply, or nothing: told with the reason, and nobody is harmed.

use crate::bad_input::{refused, unharmed};
use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::broken_fail2ban::{BrokenFail2ban, Fault};
use crate::support::{Cluster, SOON, eventually};

#[tokio::test]
async fn a_broken_fail2ban_is_down_or_busy_with_a_reason_and_harms_nobody() {
    let (mut cluster, _) = Cluster::bare(1).start_surroundings().await;
    let mut broken = Vec::new();
    let mut servers = Vec::new();
    for fault in Fault::ALL {
        let fail2ban = BrokenFail2ban::start(fault);
        let agent = Agent::start(&fail2ban.socket(), std::path::Path::new("/nowhere")).await;
        let name = format!("{fault:?}");
        servers.push(format!("{name}={}", agent.url()));
        broken.push((name, agent, fail2ban));
    }
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers.join(","));
    cluster.environment.insert("BANGUI_AGENT_TOKEN".to_owned(), AGENT_TOKEN.to_owned());
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    for (name, agent, _fail2ban) in &mut broken {
        let status = eventually(&format!("{name} to be told"), SOON, || async {
            let server = client.get(&format!("/api/v1/servers/{name}")).await.expect(200).body.clone();
            (server["status"]["condition"] != "unknown").then(|| server["status"].clone())
        })
        .await;
        let condition = status["condition"].as_str().unwrap();
        assert!(["down", "busy"].contains(&condition), "{name}: {status}");
        assert!(status["error"].as_str().is_some_and(|error| error.len() > 10), "{name}: {status}");
        assert!(agent.process.as_mut().unwrap().runs(), "{name}");
        agent.info().await;
        // A user who asks directly is told too, and not by a 500.
        let jails = client.get(&format!("/api/v1/servers/{name}/jails")).await;
        refused(&jails, &[502, 503, 504]);
    }
    unharmed(&cluster).await;
}
