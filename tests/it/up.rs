//! `bangui up`: everything on one machine, and nothing left of it afterwards.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::{Child, bangui, search_path};
use crate::support::{Client, PASSWORD, SOON, eventually, folder};

/// For starting everything, on a machine that is busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The names of Redis and Valkey in the list of processes.
const REDIS: &str = "-server unixsocket:";

/// The processes that have the data folder in their arguments or their environment.
fn processes_of(folder: &Path) -> Vec<String> {
    let needle = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        if [&arguments, &environment].iter().any(|text| String::from_utf8_lossy(text).contains(needle)) {
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push(format!("{name}: {}", String::from_utf8_lossy(&arguments).replace('\0', " ")));
        }
    }
    found
}

async fn up(folder: &Path) -> (Child, SocketAddr, Client) {
    let free: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = bangui("up");
    command.args(["--sandbox", "--workers", "2", "--listen", &free.to_string(), "--data-dir"]).arg(folder);
    command.env("BANGUI_ADMIN_PASSWORD", PASSWORD).env("BANGUI_PROBE_INTERVAL_SECONDS", "1");
    let process = Child::start("bangui up", command);
    let client = Client::new(free);
    eventually("it to be ready", START_TIMEOUT, || async {
        assert!(process.runs(), "it has ended");
        let answer = client.try_send(client.request(reqwest::Method::GET, "/readyz")).await.ok()?;
        answer.status.is_success().then_some(())
    })
    .await;
    (process, free, client)
}

async fn nothing_is_left(folder: &Path) {
    let left = || async { Some(processes_of(folder)).filter(Vec::is_empty) };
    eventually(&format!("nothing to be left of {:?}", processes_of(folder)), Duration::from_secs(10), left)
        .await;
}

#[tokio::test]
async fn everything_runs_on_one_machine_and_an_interrupt_ends_all_of_it() {
    let folder = folder();
    let (process, _, client) = up(folder.path()).await;
    let user = eventually("the admin", START_TIMEOUT, || async {
        let complete = client.get("/api/v1/setup").await.body["complete"] == true;
        if complete { Some(client.logged_in().await) } else { None }
    })
    .await;
    let local = eventually("the local server to be up", START_TIMEOUT, || async {
        let answer = user.get("/api/v1/servers/local").await;
        answer.expect(200);
        (answer.body["status"]["condition"] == "up").then_some(answer.body)
    })
    .await;
    assert!(local["status"]["active_jails"].as_u64().is_some_and(|jails| jails > 0), "{local}");
    // The sandbox feeds its fail2ban with real log lines, so something is banned after a while.
    eventually("a ban in the sandbox", Duration::from_secs(60), || async {
        let answer = user.get("/api/v1/servers/local").await;
        (answer.body["status"]["total_banned"].as_u64()? > 0).then_some(())
    })
    .await;
    eventually("two workers behind one port", START_TIMEOUT, || async {
        let view = user.get("/api/v1/cluster").await;
        (view.body["workers"].as_array()?.len() == 2).then_some(())
    })
    .await;
    // The metrics are on separate addresses, which the log names.
    client.get("/metrics").await.problem(404);
    for worker in ["worker-1", "worker-2"] {
        let log = std::fs::read_to_string(folder.path().join(format!("logs/{worker}.log"))).unwrap();
        let address =
            log.split("metrics.addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        let address: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{address}"));
        assert!(address.ip().is_loopback());
        assert!(Client::new(address).get("/metrics").await.expect(200).text.contains("bangui_redis_up 1"));
    }
    let running = processes_of(folder.path());
    for part in [REDIS, "fail2ban-server", "bangui"] {
        assert!(running.iter().any(|process| process.contains(part)), "{part} is not in {running:?}");
    }
    process.signal(Signal::INT);
    assert_eq!(process.ended(Duration::from_secs(25)).await.code(), Some(0));
    nothing_is_left(folder.path()).await;
    let refused = client.try_send(client.request(reqwest::Method::GET, "/healthz")).await;
    assert!(refused.is_err(), "{refused:?}");
}

/// Waits until all that Redis has answered is in its file: while the disk is slow, it keeps writes back for up to 2 s
/// (`appendfsync everysec`), and loses them if it is killed.
async fn written(folder: &Path) {
    let socket = folder.join("run/redis.sock");
    eventually("what Redis has answered to be in its file", SOON, || async {
        let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut connection).await.ok()?;
        info.lines().any(|line| line == "aof_buffer_length:0").then_some(())
    })
    .await;
}

/// The processes of that name which have the data folder in their arguments or their environment.
fn pids_of(folder: &Path, name: &str) -> BTreeSet<i32> {
    let processes = processes_of(folder);
    let named = processes.iter().filter(|process| process.contains(name));
    named.map(|process| process.split(':').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_neighbour_on_the_machine_cannot_have_it_write_through_a_link_or_into_an_open_folder() {
    let folder = folder();
    let precious = folder.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    for (data, why) in [
        (&link, "is a link"),
        (&open, "can be written by others"),
        (&open.join("deeper"), "everybody can write to"),
    ] {
        let mut command = bangui("up");
        command.args(["--sandbox", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        let (code, printed) = Child::run("bangui up", command, START_TIMEOUT).await;
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains(why), "{printed}");
    }
    for untouched in [&precious, &open] {
        assert_eq!(std::fs::read_dir(untouched).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_part_that_dies_is_started_again_and_nobody_is_logged_out() {
    let folder = folder();
    let (process, address, client) = up(folder.path()).await;
    let user = eventually("the admin", START_TIMEOUT, || async {
        let complete = client.get("/api/v1/setup").await.body["complete"] == true;
        if complete { Some(client.logged_in().await) } else { None }
    })
    .await;
    for part in ["bangui serve", REDIS, "bangui agent", "fail2ban-server"] {
        written(folder.path()).await;
        let before = pids_of(folder.path(), part);
        let victim =
            *before.first().unwrap_or_else(|| panic!("no {part} in {:?}", processes_of(folder.path())));
        rustix::process::kill_process(rustix::process::Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
        eventually(&format!("another {part}"), START_TIMEOUT, || async {
            let now = pids_of(folder.path(), part);
            (now.len() == before.len() && !now.contains(&victim)).then_some(())
        })
        .await;
        eventually(&format!("all to be well after the end of {part}"), START_TIMEOUT, || async {
            // New connections, so that both workers are asked.
            let user = user.renewed(address);
            let server =
                user.try_send(user.request(reqwest::Method::GET, "/api/v1/servers/local")).await.ok()?;
            assert_ne!(server.status, 401, "logged out by the end of {part}");
            (server.body["status"]["condition"] == "up" && server.body["status"]["age_ms"].as_u64()? < 3000)
                .then_some(())
        })
        .await;
    }
    // Another `up` on the same data would start a second Redis on it.
    let mut second = bangui("up");
    second.args(["--sandbox", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let (code, printed) = Child::run("a second bangui up", second, START_TIMEOUT).await;
    assert!(code.is_some_and(|code| code != 0), "{printed}");
    assert!(printed.contains(folder.path().to_str().unwrap()), "{printed}");
    process.signal(Signal::INT);
    assert_eq!(process.ended(Duration::from_secs(25)).await.code(), Some(0));
    nothing_is_left(folder.path()).await;
}

/// A program that comes before the real one of that name: `first` is what it does at its first start.
fn stand_in(folder: &Path, name: &str, first: &str) {
    let real = std::env::split_paths(&search_path()).map(|dir| dir.join(name)).find(|path| path.is_file());
    let real = real.unwrap_or_else(|| Path::new("/usr/bin").join(name));
    let (path, mark) = (folder.join(name), folder.join(format!("{name}.started")));
    let script = format!(
        "#!/bin/sh\nif [ ! -e {mark} ]; then touch {mark}; {first}; fi\nexec {real} \"$@\"\n",
        mark = mark.display(),
        real = real.display(),
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// `bangui up --sandbox` with the stand-ins of a folder.
fn up_with(stand_ins: &Path, data: &Path) -> std::process::Command {
    let mut command = bangui("up");
    let path = search_path();
    let folders = std::iter::once(stand_ins.to_owned()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command.args(["--sandbox", "--workers", "1", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    command
}

#[tokio::test]
async fn a_part_that_is_killed_while_up_waits_for_it_is_restarted_and_so_is_one_that_was_ready() {
    let (stand_ins, data) = (folder(), folder());
    let pid = stand_ins.path().join("redis.pid").display().to_string();
    // Redis is killed while `up` waits for it, and exits by itself while `up` waits for fail2ban.
    stand_in(stand_ins.path(), "redis-server", "kill -9 $$");
    let path = stand_ins.path().join("redis-server");
    let script = std::fs::read_to_string(&path).unwrap().replace("exec ", &format!("echo $$ >{pid}\nexec "));
    std::fs::write(&path, script).unwrap();
    let stop_redis =
        format!("p=$(cat {pid}); kill -TERM $p; while kill -0 $p 2>/dev/null; do sleep 0.05; done");
    stand_in(stand_ins.path(), "fail2ban-server", &stop_redis);
    let process = Child::start("bangui up", up_with(stand_ins.path(), data.path()));
    process.line("its address", START_TIMEOUT, |line| line.contains("bangui is ready").then_some(())).await;
    let restarts = |how: &str| process.lines().iter().filter(|line| line.contains(how)).count();
    let counts =
        [": redis was killed by signal 9", ": redis exited with code 0", ": fail2ban "].map(restarts);
    assert_eq!(counts, [1, 1, 0], "{}", process.printed());
    process.signal(Signal::INT);
    assert_eq!(process.ended(Duration::from_secs(25)).await.code(), Some(0));
    nothing_is_left(data.path()).await;
}

#[tokio::test]
async fn a_part_that_exits_by_itself_while_up_waits_for_it_ends_all_with_its_last_lines() {
    let (stand_ins, data) = (folder(), folder());
    stand_in(stand_ins.path(), "fail2ban-server", "echo the reason; exit 3");
    let command = up_with(stand_ins.path(), data.path());
    let (code, printed) = Child::run("bangui up", command, START_TIMEOUT).await;
    assert_eq!(code, Some(1), "{printed}");
    for words in ["fail2ban-server failed to start: fail2ban exited with code 3", "the reason"] {
        assert!(printed.contains(words), "{printed}");
    }
    nothing_is_left(data.path()).await;
}

#[tokio::test]
async fn when_up_is_killed_nothing_is_left_running_and_a_second_start_finds_the_data() {
    let folder = folder();
    let (process, _, client) = up(folder.path()).await;
    let user = eventually("the admin", START_TIMEOUT, || async {
        let complete = client.get("/api/v1/setup").await.body["complete"] == true;
        if complete { Some(client.logged_in().await) } else { None }
    })
    .await;
    written(folder.path()).await;
    // Only this process, not its group.
    process.signal(Signal::KILL);
    process.ended(Duration::from_secs(5)).await;
    nothing_is_left(folder.path()).await;

    let (process, address, again) = up(folder.path()).await;
    user.at(address).get("/api/v1/session").await.expect(200);
    again.logged_in().await.get("/api/v1/servers/local").await.expect(200);
    process.signal(Signal::TERM);
    assert_eq!(process.ended(Duration::from_secs(25)).await.code(), Some(0));
    nothing_is_left(folder.path()).await;
}
