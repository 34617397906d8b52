//! From text to a checked value: one small pure function for each kind. An error says what is allowed; the caller
//! adds the name and the value.
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::{Host, Url};

use super::{AgentGroup, AgentListen, AgentUrl, Listen, LogFormat, RateLimit, ServerEndpoint, Servers};
use crate::domain::ServerName;
use crate::domain::address::canonical_network;

#[doc(hidden)]
pub type Parsed<T> = Result<T, String>;

/// The kernel's limit for the path of a unix socket.
pub const LONGEST_SOCKET_PATH: usize = 107;

/// How long a session may be made to live: up to ten years, more than any use, and far from where sums of times overflow.
pub const SESSION_SECONDS: RangeInclusive<u64> = 1..=315_360_000;
/// How long the near cache may trust an entry.
pub const CACHE_TTL_SECONDS: RangeInclusive<u64> = 0..=3600;
/// How often servers may be probed: up to once a day.
pub const PROBE_INTERVAL_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// How long an activation may be blamed for a crash: up to a day.
pub const CRASH_WINDOW_SECONDS: RangeInclusive<u64> = 0..=86_400;

/// The characters of a setup token at least.
pub const SHORTEST_SETUP_TOKEN: usize = 24;

/// What `bangui up` sets as `BANGUI_LISTEN` of its workers.
pub const INHERITED: &str = "inherited";

/// An address with its port.
pub fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

/// Where a worker listens.
pub fn listen(text: &str) -> Parsed<Listen> {
    if text == INHERITED { Ok(Listen::Inherited) } else { address(text).map(Listen::Address) }
}

/// Where an agent listens. Whether that needs TLS, `roles.rs` knows.
pub fn agent_listen(text: &str) -> Parsed<AgentListen> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(AgentListen::Unix);
    }
    let allowed = "must be unix:/path, or an address and a port such as 127.0.0.1:8799";
    text.parse().map(AgentListen::Tcp).map_err(|_| allowed.to_owned())
}

/// A program and its arguments, which hold no spaces: no shell will read them.
pub fn words(text: &str) -> Parsed<Vec<String>> {
    if text.contains(['\0', '\n', '"', '\'', '\\', '$', '`', ';', '|', '&', '<', '>']) {
        return Err(
            "must be a program and its arguments, separated by spaces: no shell reads them".to_owned()
        );
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// A name that a certificate can carry.
pub fn host_name(text: &str) -> Parsed<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err("must be a host name such as web-1 or web-1.example.org: letters, digits and '-' between dots"
        .to_owned())
}

fn socket_path(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err("the path of a unix socket must begin with '/'".to_owned());
    }
    if text.len() > LONGEST_SOCKET_PATH || text.contains('\0') {
        return Err(format!("the path of a unix socket can have {LONGEST_SOCKET_PATH} bytes at most"));
    }
    Ok(path)
}

/// A path from the root.
pub fn absolute_path(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("must be a path that begins with '/'".to_owned()) }
}

/// How many replicas are to confirm.
pub fn replicas(text: &str) -> Parsed<u16> {
    text.parse().ok().filter(|n| *n <= 100).ok_or_else(|| "must be a whole number from 0 to 100".to_owned())
}

/// How many connections the pool may have.
pub fn pool_size(text: &str) -> Parsed<u16> {
    text.parse().ok().filter(|n| *n <= 100).ok_or_else(|| "must be a whole number from 0 to 100".to_owned())
}

/// How many connections a worker may have.
pub fn connections(text: &str) -> Parsed<usize> {
    let allowed = || "must be a whole number from 64 to 100000".to_owned();
    text.parse().ok().filter(|n| (64..=100_000).contains(n)).ok_or_else(allowed)
}

/// How many connections an address may have.
pub fn connections_of_address(text: &str) -> Parsed<usize> {
    let allowed = || "must be a whole number from 1 to 100000".to_owned();
    text.parse().ok().filter(|n| (1..=100_000).contains(n)).ok_or_else(allowed)
}

/// A number that is not zero.
pub fn positive(text: &str) -> Parsed<NonZeroU32> {
    text.parse().map_err(|_| "must be a positive whole number, such as 2".to_owned())
}

fn number(text: &str, allowed: RangeInclusive<u64>, unit: &str) -> Parsed<u64> {
    let parsed = text.parse().ok().filter(|n| allowed.contains(n));
    parsed.ok_or_else(|| {
        format!("must be a whole number of {unit} from {} to {}", allowed.start(), allowed.end())
    })
}

/// Whole seconds.
pub fn seconds(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| number(text, allowed.clone(), "seconds").map(Duration::from_secs)
}

/// Whole milliseconds.
pub fn milliseconds(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| number(text, allowed.clone(), "milliseconds").map(Duration::from_millis)
}

/// Yes or no.
pub fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// How logs look.
pub fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

/// `10/60`: ten at once, ten again within sixty seconds.
pub fn rate_limit(text: &str) -> Parsed<RateLimit> {
    let allowed = || "must be N/SECONDS with two positive whole numbers, such as 10/60".to_owned();
    let (burst, period) = text.split_once('/').ok_or_else(allowed)?;
    let burst = positive(burst.trim()).map_err(|_| allowed())?;
    let period = number(period.trim(), 1..=31_536_000, "seconds").map_err(|_| allowed())?;
    Ok(RateLimit { burst, period: Duration::from_secs(period) })
}

/// The first part of every key. Braces would move the keys to other slots of a cluster than one another.
pub fn redis_prefix(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 characters of A-Z, a-z, 0-9, '_', '.', ':' and '-'".to_owned())
}

/// Networks such as `10.0.0.0/8`, or single addresses, each in its one spelling.
pub fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network =
        |entry: &str| entry.parse::<IpNet>().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from));
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            network(entry)
                .map(canonical_network)
                .ok_or_else(|| format!("{entry:?} is neither a network such as 10.0.0.0/8 nor an address"))
        })
        .collect()
}

/// What users type into the browser.
pub fn public_url(text: &str) -> Parsed<Url> {
    let allowed = "must be http:// or https:// with a host, a port if need be, and nothing after it";
    let url = Url::parse(text).map_err(|error| format!("{allowed} ({error})"))?;
    if matches!(url.scheme(), "http" | "https") && is_bare(&url) { Ok(url) } else { Err(allowed.to_owned()) }
}

fn is_bare(url: &Url) -> bool {
    url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// `name=url,name=url`. All entries are looked at, so that one message names all that is wrong with them.
pub fn servers(text: &str) -> Parsed<Servers> {
    let mut found = Servers::default();
    let mut wrong = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match server(entry) {
            Ok(new) => wrong.extend(add(&mut found, new)),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong.join("; ")) }
}

/// One entry.
enum Entry {
    Server(ServerEndpoint),
    Group(AgentGroup),
}

/// Adds an entry, or says what it has in common with one that is there.
fn add(found: &mut Servers, new: Entry) -> Option<String> {
    let name = match &new {
        Entry::Server(server) => &server.name,
        Entry::Group(group) => &group.name,
    };
    let names = found.listed.iter().map(|old| &old.name).chain(found.groups.iter().map(|old| &old.name));
    if names.into_iter().any(|old| old == name) {
        return Some(format!("the name {name} is there twice"));
    }
    match new {
        Entry::Server(new) => match found.listed.iter().find(|old| old.url == new.url) {
            Some(old) => return Some(format!("{} and {} have the same agent", old.name, new.name)),
            None => found.listed.push(new),
        },
        Entry::Group(new) => {
            let same = |old: &&AgentGroup| old.host == new.host && old.port == new.port;
            match found.groups.iter().find(same) {
                Some(old) => return Some(format!("{} and {} have the same agents", old.name, new.name)),
                None => found.groups.push(new),
            }
        }
    }
    None
}

fn server(entry: &str) -> Parsed<Entry> {
    let Some((name, url)) = entry.split_once('=') else {
        return Err("each entry must be name=url, entries separated by commas".to_owned());
    };
    let name = ServerName::parse(name.trim()).map_err(|error| error.to_string())?;
    let read = match url.trim().strip_suffix("?discover=dns") {
        Some(url) => agent_url(url).and_then(|url| group(name.clone(), &url)).map(Entry::Group),
        None => agent_url(url.trim()).map(|url| Entry::Server(ServerEndpoint { name: name.clone(), url })),
    };
    read.map_err(|why| format!("the URL of {name} {why}"))
}

/// The agents behind a DNS name.
fn group(name: ServerName, url: &AgentUrl) -> Parsed<AgentGroup> {
    const ALLOWED: &str = "has ?discover=dns, which needs https:// and a DNS name";
    let (url, tls) = match url {
        AgentUrl::Https(url) => (url, true),
        AgentUrl::LoopbackHttp(url) => (url, false),
        AgentUrl::Unix(_) => return Err(ALLOWED.to_owned()),
    };
    match (url.host(), url.port_or_known_default()) {
        (Some(Host::Domain(host)), Some(port)) => Ok(AgentGroup { name, host: host.to_owned(), port, tls }),
        _ => Err(ALLOWED.to_owned()),
    }
}

fn agent_url(text: &str) -> Parsed<AgentUrl> {
    const ALLOWED: &str =
        "must be https://host:port, http+unix:///path, or http://host:port of a loopback address";
    if let Some(path) = text.strip_prefix("http+unix://") {
        return socket_path(path).map(AgentUrl::Unix).map_err(|why| format!("{ALLOWED} ({why})"));
    }
    let url = Url::parse(text).map_err(|error| format!("{ALLOWED} ({error})"))?;
    match url.scheme() {
        "https" | "http" if !is_bare(&url) => {
            Err(format!("{ALLOWED}, and nothing before the host or after the port"))
        }
        "https" => Ok(AgentUrl::Https(url)),
        "http" if is_loopback(&url) => Ok(AgentUrl::LoopbackHttp(url)),
        "http" => {
            Err("is http:// beyond this machine, where the token would travel in the clear: use https://"
                .to_owned())
        }
        _ => Err(ALLOWED.to_owned()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// One or two tokens separated by a comma. Used again by the agent when its token file changes.
///
/// # Errors
/// Says what is allowed; never with the value.
pub fn agent_tokens(text: &str) -> Parsed<Vec<SecretString>> {
    let tokens: Vec<&str> = text.split(',').map(str::trim).collect();
    if tokens.len() > 2 {
        return Err("must be one token, or two separated by a comma while one is being replaced".to_owned());
    }
    if tokens.iter().any(|token| token.len() < 32 || token.len() > 1024) {
        return Err(
            "each token must have 32 characters or more; `openssl rand -hex 32` makes a good one".to_owned()
        );
    }
    if tokens.iter().any(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(
            "a token must be of visible ASCII characters without spaces, since it travels in a header"
                .to_owned(),
        );
    }
    Ok(tokens.into_iter().map(SecretString::from).collect())
}

/// What must come with the setup call: too long to be guessed, however many addresses somebody guesses from.
pub fn setup_token(text: &str, _file: Option<&Path>) -> Parsed<SecretString> {
    if text.chars().count() >= SHORTEST_SETUP_TOKEN {
        return Ok(text.into());
    }
    Err(format!(
        "must have {SHORTEST_SETUP_TOKEN} characters or more; `openssl rand -hex 16` makes a good one"
    ))
}

/// A new password, as long as the setup call allows.
pub fn password(text: &str, _file: Option<&Path>) -> Parsed<SecretString> {
    if (10..=1024).contains(&text.len()) {
        Ok(text.into())
    } else {
        Err("must have 10 to 1024 bytes".to_owned())
    }
}
