//! The commands for people as clap's commands: what each takes, read with the domain's own parsers, so that a name or an address
//! that cannot be one is wrong usage and reaches no server.
//!
//! To add a command: a variant and a name here, its arguments below, its line in `command::COMMANDS`, and its file in
//! `cli/client/`.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::domain::{BanJobId, JailName, Network, ServerName};

/// The argument of `audit`.
pub const AUDIT_ACTION: &str = "action";
/// The flag of `audit` for what an earlier run printed.
pub const AUDIT_SINCE: &str = "since";
/// `--json`.
pub const JSON: &str = "json";
/// A server.
pub const SERVER: &str = "server";
/// A jail.
pub const JAIL: &str = "jail";
/// Addresses, or `-`.
pub const ADDRESSES: &str = "addresses";
/// One address or network.
pub const ADDRESS: &str = "address";
/// The server's URL, of `login`.
pub const LOGIN_URL: &str = "server-url";
/// Who logs in.
pub const USERNAME: &str = "username";
/// A token instead of a login.
pub const TOKEN: &str = "token";
/// The beginning of addresses.
pub const SEARCH: &str = "search";
/// Number of items of a page.
pub const LIMIT: &str = "limit";
/// Where a page begins.
pub const CURSOR: &str = "cursor";
/// All pages.
pub const ALL: &str = "all";
/// Also what looks like a mistake.
pub const FORCE: &str = "force";
/// Do not wait for a job.
pub const NO_WAIT: &str = "no-wait";
/// Ctrl-C cancels the job.
pub const CANCEL_ON_INTERRUPT: &str = "cancel-on-interrupt";
/// Also after a reload.
pub const PERSISTENT: &str = "persistent";
/// Follow the stream.
pub const FOLLOW: &str = "follow";
/// The event after which a stream begins.
pub const AFTER: &str = "after";
/// A ban job.
pub const JOB: &str = "job";
/// Cancel that job.
pub const CANCEL: &str = "cancel";
/// Wait for that job.
pub const WAIT: &str = "wait";

/// A command for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCommand {
    /// `bangui login`
    Login,
    /// `bangui logout`
    Logout,
    /// `bangui servers`
    Servers,
    /// `bangui jails`
    Jails,
    /// `bangui bans`
    Bans,
    /// `bangui ban`
    Ban,
    /// `bangui unban`
    Unban,
    /// `bangui why`
    Why,
    /// `bangui ignore`
    Ignore,
    /// `bangui events`
    Events,
    /// `bangui jobs`
    Jobs,
    /// `bangui audit`, without `verify`
    Audit,
    /// `bangui diagnosis`
    Diagnosis,
}

impl ClientCommand {
    /// The command of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "login" => Self::Login,
            "logout" => Self::Logout,
            "servers" => Self::Servers,
            "jails" => Self::Jails,
            "bans" => Self::Bans,
            "ban" => Self::Ban,
            "unban" => Self::Unban,
            "why" => Self::Why,
            "ignore" => Self::Ignore,
            "events" => Self::Events,
            "jobs" => Self::Jobs,
            "audit" => Self::Audit,
            "diagnosis" => Self::Diagnosis,
            _ => return None,
        })
    }
}

/// What is named on the command line: an address, a network, or standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// `-`
    Stdin,
    /// An address or a network.
    Network(Network),
}

/// The command with its arguments.
pub(super) fn with_arguments(name: &str, command: Command) -> Command {
    match ClientCommand::named(name) {
        Some(ClientCommand::Login) => command.arg(login_url()).arg(username()).arg(by_token()),
        Some(ClientCommand::Servers | ClientCommand::Diagnosis) => command.arg(json()),
        Some(ClientCommand::Jails) => command.arg(server().required(false)).arg(json()),
        Some(ClientCommand::Bans) => {
            let search = Arg::new(SEARCH).long(SEARCH).value_name("TEXT").help("Only bans that begin with this text");
            paged(command.arg(server()).arg(jail()).arg(search), 1_000)
        }
        Some(ClientCommand::Ban) => changes(command, "ban").arg(flag(
            FORCE,
            "Ban your own address, a trusted proxy, loopback, or a network larger than a /8 (IPv6: /16), too",
        )),
        Some(ClientCommand::Unban) => changes(command, "unban"),
        Some(ClientCommand::Why) => command.arg(address()).arg(json()),
        Some(ClientCommand::Ignore) => command
            .arg(server())
            .arg(jail())
            .arg(address())
            .arg(flag(PERSISTENT, "Keep the entry after the jail's next reload or restart, too"))
            .arg(json()),
        Some(ClientCommand::Events) => command
            .arg(
                flag(FOLLOW, "Follow the stream of events, across restarts of workers, until Ctrl-C").required(true),
            )
            .arg(Arg::new(AFTER).long(AFTER).value_name("ID").value_parser(event_id).help(
                "Begin after the event with this id; 0-0 begins with the oldest one [default: only new events]",
            ))
            .arg(json()),
        Some(ClientCommand::Jobs) => jobs(command),
        Some(ClientCommand::Logout | ClientCommand::Audit) | None => command,
    }
}

/// `audit`: the entries from the API, or with `verify` those in Redis, each with options of its own.
pub(super) fn audit(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "url" | "token-file" => arg.conflicts_with(AUDIT_ACTION),
        "help" => arg,
        _ => arg.requires(AUDIT_ACTION).help_heading("Options of `audit verify`"),
    });
    let action = Arg::new(AUDIT_ACTION)
        .value_name("ACTION")
        .value_parser(["verify"])
        .conflicts_with_all([JSON, LIMIT, CURSOR, ALL])
        .help("What to do; without it, entries are listed");
    let since = Arg::new(AUDIT_SINCE)
        .long(AUDIT_SINCE)
        .value_name("TRAIL:NUMBER:HASH:SECONDS")
        .action(ArgAction::Append)
        .value_parser(value_parser!(String))
        .requires(AUDIT_ACTION)
        .help_heading("Options of `audit verify`")
        .help("The newest entry of a trail as an earlier run printed it: fail if it is missing or was changed; may be repeated");
    paged(command.arg(action).arg(since), 200)
}

fn jobs(command: Command) -> Command {
    let job = Arg::new(JOB).value_name("JOB").value_parser(job_id).help("Only the ban job with this id");
    let command = command.arg(job.conflicts_with_all([LIMIT, CURSOR, ALL]));
    let command = command
        .arg(
            flag(WAIT, "Wait until the job has ended; Ctrl-C leaves it running")
                .requires(JOB)
                .conflicts_with(CANCEL),
        )
        .arg(flag(CANCEL, "Cancel the job: no further address is touched").requires(JOB));
    paged(command, 200)
}

fn changes(command: Command, verb: &str) -> Command {
    let addresses = Arg::new(ADDRESSES)
        .value_name("ADDRESS")
        .required(true)
        .num_args(1..)
        .value_parser(named)
        .help(format!("Addresses and networks to {verb}, or - to read them from standard input"));
    command
        .arg(server())
        .arg(jail())
        .arg(addresses)
        .arg(
            flag(NO_WAIT, "If the request becomes a ban job, do not wait until it has ended")
                .conflicts_with(CANCEL_ON_INTERRUPT),
        )
        .arg(flag(CANCEL_ON_INTERRUPT, "Ctrl-C cancels the job; without this flag, the job continues"))
        .arg(json())
}

fn paged(command: Command, most: u16) -> Command {
    let limit = value_parser!(u16).range(1..=i64::from(most));
    let limit = Arg::new(LIMIT).long(LIMIT).value_name("N").value_parser(limit);
    let cursor = Arg::new(CURSOR).long(CURSOR).value_name("CURSOR");
    command
        .arg(limit.help(format!("Number of items of a page, up to {most}")))
        .arg(cursor.help("Where the page begins: the `next_cursor` of the one before"))
        .arg(flag(ALL, "Show all pages; with --json, one document per page, each on a line"))
        .arg(json())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn json() -> Arg {
    flag(JSON, "Print the API's answer as JSON, for scripts")
}

fn server() -> Arg {
    Arg::new(SERVER).value_name("SERVER").required(true).value_parser(ServerName::parse)
}

fn jail() -> Arg {
    Arg::new(JAIL).value_name("JAIL").required(true).value_parser(JailName::parse)
}

fn address() -> Arg {
    let help = "An address or a network, such as 203.0.113.7 or 2001:db8::/48";
    Arg::new(ADDRESS).value_name("ADDRESS").required(true).value_parser(network).help(help)
}

fn login_url() -> Arg {
    Arg::new(LOGIN_URL).value_name("URL").value_parser(super::values::public_url).conflicts_with("url").help(
        "URL of bangui, such as https://bangui.example [default: BANGUI_URL, or that of the last login]",
    )
}

fn username() -> Arg {
    Arg::new(USERNAME).long(USERNAME).value_name("NAME").default_value("admin").help("Who logs in")
}

fn by_token() -> Arg {
    flag(TOKEN, "Ask for a token that you made on the page of your account, and keep it: for accounts without a password (--token-file does not do this)")
        .conflicts_with(USERNAME)
}

fn network(text: &str) -> Result<Network, &'static str> {
    Network::parse(text).ok_or("it is neither an address nor a network")
}

fn named(text: &str) -> Result<Named, &'static str> {
    if text == "-" { Ok(Named::Stdin) } else { network(text).map(Named::Network) }
}

fn job_id(text: &str) -> Result<BanJobId, &'static str> {
    BanJobId::parse(text).ok_or("a job's id has 32 hexadecimal digits")
}

fn event_id(text: &str) -> Result<String, &'static str> {
    let number = |text: &str| (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let fits = text.split_once('-').is_some_and(|(time, sequence)| number(time) && number(sequence));
    fits.then(|| text.to_owned()).ok_or("an event's id is two numbers, such as 1700000000000-0")
}

/// Whether a flag was given; `false` also for a command that has no such flag.
#[must_use]
pub fn is_set(matches: &ArgMatches, name: &str) -> bool {
    matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::command::{COMMANDS, command};
    use crate::config::variables::Role;

    fn parse(line: &str) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(line.split(' '))
    }

    #[test]
    fn every_command_for_people_is_known_by_its_name() {
        for (name, role, _) in COMMANDS {
            assert_eq!(
                ClientCommand::named(name).is_some(),
                matches!(role, Role::Client | Role::Audit),
                "{name}"
            );
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn what_cannot_be_a_name_or_an_address_is_wrong_usage() {
        for wrong in [
            "bangui jails we/b",
            "bangui ban web-1 app 203.0.113.700",
            "bangui ban web-1 app",
            "bangui why nobody",
            "bangui bans web-1 app --limit 0",
            "bangui jobs x",
            "bangui jobs --cancel",
            "bangui events",
            "bangui events --follow --after x",
            "bangui login example.org",
            "bangui login --token x https://bangui.example",
            "bangui login --token --username anna",
            "bangui audit forge",
            "bangui audit --redis-prefix x",
            "bangui audit verify --json",
            "bangui audit verify --url http://localhost",
            "bangui completions csh",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for right in [
            "bangui jails",
            "bangui ban web-1 app -",
            "bangui ban web-1 app 203.0.113.7 2001:db8::/48 --force",
            "bangui audit",
            "bangui audit verify",
            "bangui audit verify --redis-prefix x",
            "bangui audit --redis-prefix x verify",
            "bangui login --token https://bangui.example",
            "bangui events --follow --after 0-0",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
    }
}
