//! Parses the command line, dispatches to a subcommand, and turns its outcome into the exit code.
//!
//! Exit codes: 0 done, 1 failed or refused, wholly or partly, 2 wrong usage or configuration; of the commands for people also 3 not
//! logged in, and 4 bangui cannot be reached, or bangui, an agent or fail2ban cannot answer now.

use std::process::ExitCode;

use bangui::cli::{self, Failure, Outcome};
use bangui::config::variables::Role;
use bangui::config::{Environment, command};
use bangui::domain::printable::printable_lines;
use bangui::telemetry;
use clap::ArgMatches;

/// A request allocates some twenty times.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let matches = match command::command().try_get_matches() {
        Ok(matches) => matches,
        Err(usage) => {
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let outcome = dispatch(&matches);
    telemetry::traces::flush();
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if !matches!(failure, Failure::Quiet) {
        eprintln!("bangui: {}", printable_lines(&failure.to_string()));
    }
    ExitCode::from(failure.exit_code())
}

fn dispatch(matches: &ArgMatches) -> Outcome {
    // clap requires a subcommand, and knows only these.
    let Some((name, arguments)) = matches.subcommand() else { return Ok(()) };
    if name == command::CHILD {
        return cli::child::run(arguments);
    }
    let Some((_, role, _)) = command::COMMANDS.iter().find(|(known, _, _)| *known == name) else {
        return Ok(());
    };
    let environment = Environment::of_process();
    let flags = command::flags(*role, arguments);
    match role {
        Role::Serve => cli::serve::run(&environment, &flags),
        Role::Agent => cli::agent::run(&environment, &flags),
        Role::Up => cli::up::run(&environment, &flags),
        Role::Check => cli::check::run(&environment, &flags),
        Role::Healthcheck => {
            let url = arguments.get_one::<String>(command::URL).map(String::as_str);
            cli::healthcheck::run(&environment, &flags, url)
        }
        Role::Openapi => cli::openapi::run(),
        Role::ResetPassword => {
            let user = arguments.get_one::<String>(command::USER).map(String::as_str);
            let factors = arguments.get_flag(command::SECOND_FACTOR);
            cli::reset_password::run(&environment, &flags, user, factors)
        }
        // clap takes no other action than `verify`.
        Role::Audit if arguments.contains_id(command::AUDIT_ACTION) => {
            let since: Vec<String> =
                arguments.get_many(command::AUDIT_SINCE).unwrap_or_default().cloned().collect();
            cli::audit::run(&environment, &flags, &since)
        }
        Role::Audit | Role::Client => cli::client::run(name, &environment, &flags, arguments),
        Role::Shell => cli::shell::run(name, arguments),
    }
}
