//! The table of variables as clap's commands, and clap's matches as [`Flags`].

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::client_commands;
pub use super::client_commands::{AUDIT_ACTION, AUDIT_SINCE};
use super::sources::Flags;
use super::variables::{self, Role, Variable};

/// The flag of `up` for its data folder.
pub const DATA_DIR: &str = "data-dir";
/// The flag of `up` for a private fail2ban.
pub const SANDBOX: &str = "sandbox";
/// The argument of `reset-password`.
pub const USER: &str = "user";
/// The flag of `reset-password` that removes second factors.
pub const SECOND_FACTOR: &str = "second-factor";
/// The argument of `healthcheck`.
pub const URL: &str = "url";
/// The command that prints completions, and its argument.
pub const COMPLETIONS: &str = "completions";
/// The shell whose completions are wanted.
pub const SHELL: &str = "shell";
/// The command that writes man pages.
pub const MAN: &str = "man";
/// The folder for man pages.
pub const FOLDER: &str = "folder";
/// The hidden subcommand through which `up` starts its children.
pub const CHILD: &str = "child";
/// The flag for the id of the process that a child must not outlive.
pub const CHILD_PARENT: &str = "parent";
/// The program that the child becomes, and its arguments.
pub const CHILD_COMMAND: &str = "command";

/// Every subcommand: its name, the role whose variables it reads, and its help.
pub const COMMANDS: [(&str, Role, &str); 22] = [
    (
        "up",
        Role::Up,
        "Run everything on one machine: a private Redis, an agent for the local fail2ban, N workers",
    ),
    ("serve", Role::Serve, "Run one worker"),
    ("agent", Role::Agent, "Run the agent, beside fail2ban"),
    ("check", Role::Check, "Test every connection that the configuration names; exit 0 only if all is well"),
    ("healthcheck", Role::Healthcheck, "Exit 0 if a worker is ready, for container health checks"),
    ("openapi", Role::Openapi, "Print the OpenAPI document of the HTTP API"),
    (
        "reset-password",
        Role::ResetPassword,
        "Set a new password for the admin or another user and end all their sessions",
    ),
    (
        "login",
        Role::Client,
        "Log in to bangui, for the commands that ask its API (`servers`, `ban` and so on); the password comes from the terminal or standard input",
    ),
    ("logout", Role::Client, "End the session that `bangui login` began"),
    ("servers", Role::Client, "List the servers with their conditions"),
    ("jails", Role::Client, "List the jails of a server, or of all servers"),
    ("bans", Role::Client, "List the bans of a jail"),
    ("ban", Role::Client, "Ban addresses in a jail; - reads any number of them from standard input"),
    ("unban", Role::Client, "Unban addresses in a jail; - reads any number of them from standard input"),
    ("why", Role::Client, "Show where an address is banned, until when, and what keeps it from being banned"),
    (
        "ignore",
        Role::Client,
        "Unban an address or network in a jail and never ban it again: until the jail's next reload or, with --persistent, for good",
    ),
    ("events", Role::Client, "Show events as they happen"),
    ("jobs", Role::Client, "List ban jobs; show, await or cancel one"),
    (
        "audit",
        Role::Audit,
        "List who did what; `audit verify` reports removed or changed entries of the audit in Redis, and exits 0 only if there are none",
    ),
    ("diagnosis", Role::Client, "Show what is wrong or at risk, and what to do about it"),
    (COMPLETIONS, Role::Shell, "Print completions for bash, zsh or fish"),
    (MAN, Role::Shell, "Write man pages into a folder"),
];

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    documented().subcommand(child())
}

/// The command line as users know it: without what is hidden, which a shell would offer.
#[must_use]
pub fn documented() -> Command {
    let root = Command::new("bangui")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A control plane for fail2ban: any number of stateless workers on one Redis")
        .after_help(
            "A flag with [env: NAME] in its command's --help is also an environment variable; the flag takes precedence.\n\
             Exit codes: 0 success, 1 failed or refused, wholly or partly, 2 wrong usage or configuration, 3 not logged in or the \
             session has ended, 4 bangui cannot be reached, or bangui, an agent or fail2ban cannot answer now.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true);
    COMMANDS.iter().fold(root, |root, (name, role, about)| root.subcommand(subcommand(name, *role, about)))
}

fn subcommand(name: &'static str, role: Role, about: &'static str) -> Command {
    let variables = variables::ALL.iter().filter(|variable| variable.is_for(role));
    let command = Command::new(name).about(about).args(variables.map(|variable| argument(variable)));
    match role {
        Role::Up => command
            .arg(
                Arg::new(DATA_DIR)
                    .long(DATA_DIR)
                    .value_name("DIR")
                    .value_parser(value_parser!(OsString))
                    .help("Folder for Redis's data, logs and secrets [default: /var/lib/bangui for root, else ~/.local/share/bangui]"),
            )
            .arg(Arg::new(SANDBOX).long(SANDBOX).action(ArgAction::SetTrue).help(
                "Run a private fail2ban to try things out on, in place of this machine's: its own config, socket and log, no firewall action",
            )),
        Role::Healthcheck => command.arg(
            Arg::new(URL)
                .value_name("URL")
                .value_parser(value_parser!(String))
                .help("URL to request [default: /readyz at BANGUI_LISTEN]"),
        ),
        Role::ResetPassword => command
            .arg(
                Arg::new(USER)
                    .value_name("USER")
                    .value_parser(value_parser!(String))
                    .help("Whose password or second factors [default: admin]"),
            )
            .arg(Arg::new(SECOND_FACTOR).long(SECOND_FACTOR).action(ArgAction::SetTrue).help(
                "Instead remove all second factors of the user and end all their sessions; the password stays",
            )),
        Role::Audit => client_commands::audit(command),
        Role::Client => client_commands::with_arguments(name, command),
        Role::Shell if name == COMPLETIONS => {
            command.arg(Arg::new(SHELL).value_name("SHELL").required(true).value_parser(["bash", "zsh", "fish"]))
        }
        Role::Shell => command.arg(
            Arg::new(FOLDER)
                .value_name("FOLDER")
                .required(true)
                .value_parser(value_parser!(OsString))
                .help("Folder that is created if it does not exist"),
        ),
        _ => command,
    }
}

fn argument(variable: &'static Variable) -> Arg {
    let (env, placeholder) = if variable.secret {
        (format!("{} or {}", variable.name, variable.file_name()), "FILE")
    } else {
        (variable.name.to_owned(), variable.placeholder)
    };
    let from_file = if variable.secret { " (read from a file)" } else { "" };
    let default = variable.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    Arg::new(variable.flag())
        .long(variable.flag())
        .value_name(placeholder)
        .value_parser(value_parser!(OsString))
        .allow_negative_numbers(true)
        .help(format!("{}{from_file}{default} [env: {env}]", variable.help))
}

fn child() -> Command {
    Command::new(CHILD)
        .hide(true)
        .about("Replace this process with a program that dies with its parent; used by `up`")
        .arg(Arg::new(CHILD_PARENT).long(CHILD_PARENT).required(true).value_parser(value_parser!(i32)))
        .arg(
            Arg::new(CHILD_COMMAND)
                .required(true)
                .num_args(1..)
                .last(true)
                .value_parser(value_parser!(OsString)),
        )
}

/// The flags given to a command.
#[must_use]
pub fn flags(role: Role, matches: &ArgMatches) -> Flags {
    let variables = variables::ALL.iter().filter(|variable| variable.is_for(role));
    let mut flags: Flags = variables
        .filter_map(|variable| {
            let flag = variable.flag();
            let value = matches.get_one::<OsString>(&flag)?.clone();
            Some((flag, value))
        })
        .collect();
    if role == Role::Up {
        flags.extend(matches.get_one::<OsString>(DATA_DIR).map(|dir| (DATA_DIR.to_owned(), dir.clone())));
        flags.extend(matches.get_flag(SANDBOX).then(|| (SANDBOX.to_owned(), OsString::new())));
    }
    flags
}
