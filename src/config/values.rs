//! From text to a checked value: one small pure function for each kind. An error says what is allowed; the caller adds
//! the variable's name and value.

use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use super::{AgentGroup, AgentListen, AgentUrl, Listen, LogFormat, RateLimit, ServerEndpoint, Servers};
use crate::domain::ServerName;
use crate::domain::access::Role;

#[doc(hidden)]
pub type Parsed<T> = Result<T, String>;

/// The kernel's limit for the path of a unix socket.
pub const MAX_SOCKET_PATH: usize = 107;

/// The allowed lifetime of a session: up to ten years, longer than anyone needs, and far from overflowing sums of times.
pub const SESSION_SECONDS: RangeInclusive<u64> = 1..=315_360_000;
/// The allowed lifetime of an entry in the near cache.
pub const CACHE_TTL_SECONDS: RangeInclusive<u64> = 0..=3600;
/// The allowed interval of probes: up to a day.
pub const PROBE_INTERVAL_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// The allowed crash window of an activation: up to a day.
pub const CRASH_WINDOW_SECONDS: RangeInclusive<u64> = 0..=86_400;

/// The value of `BANGUI_LISTEN` that `bangui up` gives its workers.
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

/// Where an agent listens. `roles.rs` decides whether it needs TLS.
pub fn agent_listen(text: &str) -> Parsed<AgentListen> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(AgentListen::Unix);
    }
    let allowed = "must be unix:/path, or an address and a port such as 127.0.0.1:8799";
    text.parse().map(AgentListen::Tcp).map_err(|_| allowed.to_owned())
}

/// A program and its arguments, separated by spaces, without a shell and its quoting.
pub fn words(text: &str) -> Parsed<Vec<String>> {
    if text.contains(['\0', '\n', '"', '\'', '\\', '$', '`', ';', '|', '&', '<', '>']) {
        return Err(
            "must be a program and its arguments, separated by spaces, without shell syntax or quotes"
                .to_owned(),
        );
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// A DNS name, as a certificate has it.
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
        return Err("the path of a unix socket must start with '/'".to_owned());
    }
    if text.len() > MAX_SOCKET_PATH || text.contains('\0') {
        return Err(format!("the path of a unix socket must be at most {MAX_SOCKET_PATH} bytes long"));
    }
    Ok(path)
}

/// An absolute path.
pub fn absolute_path(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path, starting with '/'".to_owned()) }
}

/// A number of replicas.
pub fn replicas(text: &str) -> Parsed<u16> {
    text.parse().ok().filter(|n| *n <= 100).ok_or_else(|| "must be a whole number from 0 to 100".to_owned())
}

/// The size of the pool. A worker's reader of events holds one connection all the time, so 1 would leave none for the rest.
pub fn pool_size(text: &str) -> Parsed<u16> {
    text.parse().ok().filter(|n| *n <= 100 && *n != 1).ok_or_else(|| {
        "must be 0 or a whole number from 2 to 100: one connection always waits for events".to_owned()
    })
}

/// How many proxies are in front of the workers.
pub fn hops(text: &str) -> Parsed<NonZeroU8> {
    let hops = text.parse::<NonZeroU8>().ok().filter(|hops| hops.get() <= 10);
    hops.ok_or_else(|| "must be a whole number from 1 to 10".to_owned())
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

/// A positive number.
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

/// Whole days.
pub fn days(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| number(text, allowed.clone(), "days").map(|days| Duration::from_secs(days * 86_400))
}

/// Whole milliseconds.
pub fn milliseconds(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| number(text, allowed.clone(), "milliseconds").map(Duration::from_millis)
}

/// True or false, in the usual spellings.
pub fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The log format.
pub fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

/// `10/60`: a burst of ten, refilled within sixty seconds.
pub fn rate_limit(text: &str) -> Parsed<RateLimit> {
    let allowed = || "must be N/SECONDS with two positive whole numbers, such as 10/60".to_owned();
    let (burst, period) = text.split_once('/').ok_or_else(allowed)?;
    let burst = positive(burst.trim()).map_err(|_| allowed())?;
    let period = number(period.trim(), 1..=31_536_000, "seconds").map_err(|_| allowed())?;
    Ok(RateLimit { burst, period: Duration::from_secs(period) })
}

/// `operator,admin`: roles, each once; none if it is empty.
pub fn roles(text: &str) -> Parsed<Vec<Role>> {
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let known = |word: &&str| Role::ALL.iter().any(|role| role.as_str() == *word);
    if !words.iter().all(known) {
        return Err("must be roles separated by commas, of viewer, operator and admin, or empty".to_owned());
    }
    Ok(Role::ALL.into_iter().filter(|role| words.contains(&role.as_str())).collect())
}

/// The prefix of every key. Braces are refused: they would spread the keys over the slots of a cluster.
pub fn redis_prefix(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 characters of A-Z, a-z, 0-9, '_', '.', ':' and '-'".to_owned())
}

/// The address that users type into the browser.
pub fn public_url(text: &str) -> Parsed<Url> {
    let allowed = "must be http:// or https:// with a host and an optional port, and nothing after it";
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

/// `name=url,name=url`. All entries are checked, so that one message has all errors.
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

/// Adds an entry, or says which other one it duplicates.
fn add(found: &mut Servers, new: Entry) -> Option<String> {
    let name = match &new {
        Entry::Server(server) => &server.name,
        Entry::Group(group) => &group.name,
    };
    let names = found.listed.iter().map(|old| &old.name).chain(found.groups.iter().map(|old| &old.name));
    if names.into_iter().any(|old| old == name) {
        return Some(format!("the name {name} is used twice"));
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
    let url = url.trim();
    let split = url.rsplit_once('?').and_then(|(url, options)| Some((url, Options::parse(options)?)));
    let (url, options) = split.unwrap_or((url, Options::default()));
    let read = agent_url(url).and_then(|url| {
        if options.shared_token && !matches!(url, AgentUrl::Https(_)) {
            return Err(
                "has token=shared, which is for https:// alone: others are sent the token anyway".to_owned()
            );
        }
        if options.discover {
            return group(name.clone(), &url, options).map(Entry::Group);
        }
        if options.first_use {
            return Err(
                "has trust=first-use, which is for ?discover=dns alone: name its CA in BANGUI_AGENT_CA"
                    .to_owned(),
            );
        }
        Ok(Entry::Server(ServerEndpoint { name: name.clone(), url, shared_token: options.shared_token }))
    });
    read.map_err(|why| format!("the URL of {name} {why}"))
}

/// What follows the `?` of an entry.
#[derive(Clone, Copy, Default)]
struct Options {
    discover: bool,
    first_use: bool,
    shared_token: bool,
}

impl Options {
    /// `None` for anything else, which then counts as part of the URL and is refused there.
    fn parse(text: &str) -> Option<Self> {
        text.split('&').try_fold(Self::default(), |options, option| match option {
            "discover=dns" => Some(Self { discover: true, ..options }),
            "trust=first-use" => Some(Self { first_use: true, ..options }),
            "token=shared" => Some(Self { shared_token: true, ..options }),
            _ => None,
        })
    }
}

/// The agents that a DNS name resolves to.
fn group(name: ServerName, url: &AgentUrl, options: Options) -> Parsed<AgentGroup> {
    const ALLOWED: &str = "has ?discover=dns, which needs https:// and a DNS name";
    let (url, tls) = match url {
        AgentUrl::Https(url) => (url, true),
        AgentUrl::LoopbackHttp(url) => (url, false),
        AgentUrl::Unix(_) => return Err(ALLOWED.to_owned()),
    };
    let Options { first_use, shared_token, .. } = options;
    if first_use && shared_token {
        return Err(
            "has trust=first-use and token=shared: the first host to answer, genuine or not, would receive the token".to_owned()
        );
    }
    if first_use && !tls {
        return Err("has trust=first-use, which is for https:// alone".to_owned());
    }
    match (url.host(), url.port_or_known_default()) {
        (Some(Host::Domain(host)), Some(port)) => {
            Ok(AgentGroup { name, host: host.to_owned(), port, tls, first_use, shared_token })
        }
        _ => Err(ALLOWED.to_owned()),
    }
}

fn agent_url(text: &str) -> Parsed<AgentUrl> {
    const ALLOWED: &str =
        "must be https://host:port, http+unix:///path, or http://host:port with a loopback address";
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
            Err("is http:// to another machine, which would send the token unencrypted: use https://"
                .to_owned())
        }
        _ => Err(ALLOWED.to_owned()),
    }
}

/// Whether a URL leads to this machine by its text alone.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
