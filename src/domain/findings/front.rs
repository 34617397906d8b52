//! Findings about how people reach the workers: over what, through whom, and how often they are turned away.

use std::net::IpAddr;

use super::{Finding, Kind, Remedy, Report, Severity};

/// How many refused password attempts, in this hour and the one before, are a finding.
pub const OFTEN: u64 = 20;

/// How the request for the diagnosis reached the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// Whether it came over TLS, as far as a trusted proxy or `BANGUI_PUBLIC_URL` says.
    pub secure: bool,
    /// Where it came from.
    pub client: IpAddr,
    /// The peer, if it forwards for others and is not among `BANGUI_TRUSTED_PROXIES`.
    pub unnamed_proxy: Option<IpAddr>,
}

/// What the request itself shows. If it came through an unnamed proxy, or from this machine, TLS is not judged; and a request
/// without a proxy does not show that there is none.
#[must_use]
pub fn judge(front: &Front) -> Report {
    let mut report = Report::default();
    if let Some(proxy) = front.unnamed_proxy {
        report.judge(Kind::ProxyUnnamed, None, [proxy_unnamed(proxy)]);
    } else if front.secure || !front.client.is_loopback() {
        report.judge(Kind::NoHttps, None, (!front.secure).then(no_https));
    }
    report
}

fn no_https() -> Finding {
    let detail =
        "Passwords and sessions travel in the clear: anyone on the network path can take over bangui.";
    let remedy = Remedy::text(
        "Put a proxy with a certificate in front, name it in BANGUI_TRUSTED_PROXIES, set BANGUI_PUBLIC_URL to its https:// URL, and restart the workers.",
    );
    Finding::new(Kind::NoHttps, Severity::Warning, "bangui is reached without https", detail, remedy)
}

fn proxy_unnamed(proxy: IpAddr) -> Finding {
    let detail = format!(
        "{proxy} forwards requests but is not in BANGUI_TRUSTED_PROXIES: all users behind it count as \
         one address and share one login limit, and the audit has the proxy's address."
    );
    let remedy = Remedy::text(format!(
        "Add {proxy} to BANGUI_TRUSTED_PROXIES if it is your proxy, and restart the workers."
    ));
    let title = format!("The proxy {proxy} is not trusted");
    Finding::new(Kind::ProxyUnnamed, Severity::Warning, title, detail, remedy).about(proxy.to_string())
}

/// Login limits that refuse often: `refused` attempts in this hour and the one before.
#[must_use]
pub fn limits_met(refused: u64) -> Option<Finding> {
    (refused >= OFTEN).then(|| {
        let detail = format!(
            "{refused} attempts to log in were refused within the last two hours. Somebody guesses passwords, or many users \
             share one address."
        );
        let remedy = Remedy::text(
            "The log says where they come from: search it for \"was refused with 429\". If they are your users, name your proxies \
             in BANGUI_TRUSTED_PROXIES, or raise the login limits in the settings.",
        );
        Finding::new(Kind::LimitsMet, Severity::Warning, "Login limits refuse often", detail, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(secure: bool, client: &str, proxy: Option<&str>) -> Vec<&'static str> {
        let front = Front {
            secure,
            client: client.parse().unwrap(),
            unnamed_proxy: proxy.map(|proxy| proxy.parse().unwrap()),
        };
        judge(&front).findings.iter().map(|found| found.kind.word()).collect()
    }

    #[test]
    fn without_https_is_a_finding_for_users_on_other_machines() {
        assert_eq!(found(false, "198.51.100.23", None), ["no-https"]);
        assert_eq!(found(true, "198.51.100.23", None), [] as [&str; 0]);
        assert_eq!(found(false, "127.0.0.1", None), [] as [&str; 0]);
    }

    #[test]
    fn a_proxy_that_is_not_named_is_the_finding_and_tls_before_it_is_not_known() {
        assert_eq!(found(false, "198.51.100.10", Some("198.51.100.10")), ["proxy-unnamed"]);
    }

    #[test]
    fn limits_are_met_often_from_twenty_refusals_on() {
        assert_eq!(limits_met(OFTEN - 1), None);
        assert!(limits_met(OFTEN).is_some());
    }
}
