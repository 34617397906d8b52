//! Private host names: processes in a separate mount namespace, where `/etc/hosts` is a file of the test and no
//! name server answers. So they use the system's resolver, and the test can change what it finds.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::Command;

use super::folder;
use super::process::program;

/// The names; they end when this is dropped.
pub struct Names(tempfile::TempDir);

/// Mounts the files of the folder (`$0`) over those of `/etc`, then runs the rest of its arguments.
const ENTER: &str = r#"for file in hosts nsswitch.conf resolv.conf host.conf; do
    [ ! -e "/etc/$file" ] || mount --bind "$0/$file" "/etc/$file"
done
exec "$@""#;

impl Names {
    pub fn new() -> Self {
        let names = Self(folder());
        let write = |file: &str, text: &str| std::fs::write(names.0.path().join(file), text).unwrap();
        write("nsswitch.conf", "hosts: files\n");
        write("resolv.conf", "nameserver 127.0.0.1\n");
        write("host.conf", "multi on\n");
        names.set("agents.test", &[]);
        names
    }

    /// Gives `name` these addresses, and no others.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.set_all(addresses.iter().map(|address| (name, *address)));
    }

    /// The same for several names at once.
    pub fn set_all<N: std::fmt::Display>(&self, all: impl Iterator<Item = (N, IpAddr)>) {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (name, address) in all {
            writeln!(hosts, "{address} {name}").unwrap();
        }
        // In place: a file that is renamed into place would not be the mounted one.
        std::fs::write(self.0.path().join("hosts"), hosts).unwrap();
    }

    /// The binary under test, among these names.
    pub fn bangui(&self, role: &str) -> Command {
        let mut command = program("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", ENTER]).arg(self.0.path());
        command.arg(env!("CARGO_BIN_EXE_bangui")).arg(role);
        command
    }
}
