//! The table of variables as clap's commands, and clap's matches as [`Flags`].
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::sources::Flags;
use super::variables::{self, Role, Variable};

/// The flag of `up` for its data folder.
pub const DATA_DIR: &str = "data-dir";
/// The flag of `up` for a private fail2ban.
pub const SANDBOX: &str = "sandbox";
/// The argument of `healthcheck`.
pub const URL: &str = "url";
/// The argument of `audit`.
pub const AUDIT_ACTION: &str = "action";
/// The hidden subcommand through which `up` starts its children.
pub const CHILD: &str = "child";
/// The flag for the id of the process that a child must not outlive.
pub const CHILD_PARENT: &str = "parent";
/// The program that the child becomes, and its arguments.
pub const CHILD_COMMAND: &str = "command";

/// Every subcommand: its name, the role whose variables it reads, and its help.
pub const COMMANDS: [(&str, Role, &str); 8] = [
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
    ("reset-password", Role::ResetPassword, "Set a new admin password and end all sessions"),
    (
        "audit",
        Role::Audit,
        "`audit verify` reports removed or changed entries of the audit; exit 0 only if there are none",
    ),
];

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    let root = Command::new("bangui")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A control plane for fail2ban: any number of stateless workers on one Redis")
        .after_help(
            "Every flag is also an environment variable, named in the command's --help; the flag takes precedence.\n\
             Exit codes: 0 success, 1 failed while running, 2 wrong usage or configuration.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(child());
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
                "Also run a private fail2ban to try things out on: its own config, socket and log, no firewall action",
            )),
        Role::Healthcheck => command.arg(
            Arg::new(URL)
                .value_name("URL")
                .value_parser(value_parser!(String))
                .help("URL to request [default: /readyz at BANGUI_LISTEN]"),
        ),
        Role::Audit => command.arg(
            Arg::new(AUDIT_ACTION)
                .value_name("ACTION")
                .required(true)
                .value_parser(["verify"])
                .help("What to do with it"),
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
