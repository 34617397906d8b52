//! The probe's choice of commands, against a peer that answers by command as a fail2ban of some version would.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::fail2ban::Options;
use crate::fail2ban::codec::END;
use crate::fail2ban::pickle::read;

/// A pickle of `(code, value)`, the value given as instructions.
fn reply(code: u8, value: &[u8]) -> Vec<u8> {
    [b"\x80\x02K", &[code][..], value, b"\x86."].concat()
}

fn text(text: &str) -> Vec<u8> {
    [b"U", &[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

fn pair(name: &str, value: &[u8]) -> Vec<u8> {
    [&text(name), value, b"\x86"].concat()
}

fn refused(class: &str) -> Vec<u8> {
    reply(1, format!("cfail2ban.exceptions\n{class}\n)R").as_bytes())
}

fn answer(words: &str, version: &str, jails: &str) -> Vec<u8> {
    let has_stats = version.starts_with("1.1.");
    match words {
        "ping" => reply(0, &text("pong")),
        "version" => reply(0, &text(version)),
        "status" => reply(0, &[b"](", &pair("Jail list", &text(jails))[..], b"e"].concat()),
        "status gone short" => refused("UnknownJailException"),
        "stats" if has_stats => {
            let jail = [&text("polling")[..], b"K\x01K\x02\x86K\x03K\x04\x86e"].concat();
            reply(
                0,
                &[b"}", &text("sshd")[..], b"](", &jail, b"s", &text("bad\u{7}name"), b"](", &jail, b"s"]
                    .concat(),
            )
        }
        words if words.starts_with("status ") && words.ends_with(" short") => {
            let filter =
                [&b"]("[..], &pair("Currently failed", b"K\x01"), &pair("Total failed", b"K\x02"), b"e"]
                    .concat();
            let actions =
                [&b"]("[..], &pair("Currently banned", b"K\x03"), &pair("Total banned", b"K\x04"), b"e"]
                    .concat();
            reply(0, &[&b"]("[..], &pair("Filter", &filter), &pair("Actions", &actions), b"e"].concat())
        }
        "get sshd backend" if has_stats => reply(0, &text("polling")),
        "get sshd idle" if has_stats => reply(0, b"\x89"),
        _ => refused("Exception"),
    }
}

struct Peer {
    _folder: TempDir,
    prober: Prober,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    fn of(version: &'static str, jails: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let asked = Arc::new(Mutex::new(vec![]));
        let log = asked.clone();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while stream.read_buf(&mut request).await.unwrap_or(0) > 0 {
                let Some(pickle) = request.strip_suffix(END) else { continue };
                let words = read(pickle).unwrap();
                let words: Vec<_> =
                    words.items().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
                let words = words.join(" ");
                stream.write_all(&[&answer(&words, version, jails)[..], END].concat()).await.unwrap();
                log.lock().unwrap().push(words);
                request.clear();
            }
        });
        Self { _folder: folder, prober: Prober::new(Client::start(Options::new(path))), asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

fn jail(name: &str) -> JailName {
    JailName::parse(name).unwrap()
}

const COUNTS: JailCounts =
    JailCounts { currently_failed: 1, total_failed: 2, currently_banned: 3, total_banned: 4 };

#[tokio::test]
async fn from_1_1_0_on_one_command_counts_all() {
    let peer = Peer::of("1.1.1.dev1", "");
    let answer = peer.prober.probe(soon()).await.unwrap();
    assert_eq!(answer.version, "1.1.1.dev1");
    assert_eq!(answer.jails, BTreeMap::from([(jail("sshd"), COUNTS)]), "an invalid name is left out");
    assert_eq!(peer.asked(), ["ping", "version", "stats"]);
}

#[tokio::test]
async fn before_1_1_a_probe_asks_every_jail_for_its_short_status() {
    let peer = Peer::of("1.0.2", "web, gone, --all, sshd");
    let answer = peer.prober.probe(soon()).await.unwrap();
    assert_eq!(answer.jails, BTreeMap::from([(jail("sshd"), COUNTS), (jail("web"), COUNTS)]));
    assert_eq!(
        peer.asked(),
        ["ping", "version", "status", "status web short", "status gone short", "status sshd short"]
    );
    assert!(Peer::of("1.0.2", "").prober.probe(soon()).await.unwrap().jails.is_empty());
}

#[tokio::test]
async fn a_fail2ban_that_would_list_every_address_is_not_asked_to_count() {
    for version in ["0.11.1", "unknown"] {
        let peer = Peer::of(version, "sshd");
        let error = peer.prober.probe(soon()).await.unwrap_err();
        assert!(error.to_string().contains("0.11.2 or newer"), "{error}");
        assert_eq!(peer.asked(), ["ping", "version"]);
    }
}

#[tokio::test]
async fn the_backend_commands_are_detected_and_their_absence_is_no_failure() {
    let knows = Peer::of("1.1.0", "sshd, web");
    assert_eq!(knows.prober.backend_commands(soon()).await, Ok(Some(true)));
    let details = knows.prober.details(&jail("sshd"), soon()).await.unwrap();
    assert_eq!(details, Some(Details { backend: Some("polling".into()), idle: Some(false) }));

    let not = Peer::of("1.0.2", "sshd");
    assert_eq!(not.prober.backend_commands(soon()).await, Ok(Some(false)));
    assert_eq!(not.prober.details(&jail("sshd"), soon()).await, Ok(None));
    assert_eq!(not.asked(), ["status", "get sshd backend", "get sshd backend"]);
    assert_eq!(Peer::of("1.0.2", "").prober.backend_commands(soon()).await, Ok(None));
}
