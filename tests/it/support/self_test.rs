//! Tests of the support itself, with the real programs.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::broken_fail2ban::{BrokenFail2ban, Fault};
use super::disk::SmallDisk;
use super::fail2ban::{Fail2ban, is_run_with_every_version};
use super::process::{Child, program};
use super::proxy::{Mode, Proxy};
use super::redis::{Redis, escaped};
use super::{SOON, eventually};

#[test]
fn a_module_that_no_filter_of_the_makefile_names_is_not_run_with_every_version_of_fail2ban() {
    assert!(is_run_with_every_version("agent_jails::a_jail_is_switched_on"));
    assert!(is_run_with_every_version("support::self_test::a_test"));
    assert!(
        !is_run_with_every_version("passwords::a_test") && !is_run_with_every_version("a_new_module::a_test")
    );
}

#[tokio::test]
async fn a_private_redis_keeps_its_data_over_a_kill_and_counts_commands() {
    let mut redis = Redis::start().await;
    let _: () = redis.command(&["SET", "a", "value-of-a"]).await;
    let before = redis.command_counts().await["set"];
    let monitor = redis.monitor().await;
    let _: () = redis.command(&["SET", "k\n\u{e9}\"", "1"]).await;
    let _: i64 = redis.command(&["EVAL", "return redis.call('EXISTS', KEYS[1])", "1", "a"]).await;
    let seen = monitor.stop(&redis).await;
    assert_eq!(redis.command_counts().await["set"], before + 1);
    assert!(seen.iter().any(|seen| seen.command.contains(&escaped("k\n\u{e9}\"".as_bytes()))), "{seen:?}");
    let script = seen.iter().find(|seen| seen.command.contains("EVAL")).unwrap();
    assert_eq!(script.inside, ["\"EXISTS\" \"a\""]);
    assert!(redis.everything().await.windows(10).any(|bytes| bytes == b"value-of-a"));

    redis.kill();
    assert!(UnixStream::connect(redis.socket()).await.is_err());
    redis.restart().await;
    assert_eq!(redis.command::<String>(&["GET", "a"]).await, "value-of-a");
}

#[tokio::test]
async fn a_paused_redis_answers_nothing_until_it_is_resumed() {
    let redis = Redis::start_with(&[]).await;
    let mut connection = redis.connection().await;
    redis.pause();
    assert!(connection.get::<_, Option<String>>("a").await.is_err());
    redis.resume();
    eventually("an answer", SOON, || async { connection.clone().set::<_, _, String>("a", "b").await.ok() })
        .await;
}

#[tokio::test]
async fn a_private_fail2ban_bans_what_its_log_says_and_survives_a_kill() {
    let mut fail2ban = Fail2ban::start(&["app", "web"]).await;
    fail2ban.log_failure("web", "203.0.113.7");
    eventually("a ban", SOON, || async { fail2ban.log().contains("[web] Ban 203.0.113.7").then_some(()) })
        .await;
    assert!(!fail2ban.log().contains("[app] Ban"));
    fail2ban.kill();
    assert!(UnixStream::connect(fail2ban.socket()).await.is_err());
    fail2ban.start_again().await;
    assert!(ping(&fail2ban.socket()).await.is_some());
    eventually("the ban again", SOON, || async {
        // From its database, or, if it was killed before it wrote there, from the log file.
        (fail2ban.log().matches("Ban 203.0.113.7").count() == 2).then_some(())
    })
    .await;
    fail2ban.pause();
    assert!(ping(&fail2ban.socket()).await.is_none());
    fail2ban.resume();
    assert!(ping(&fail2ban.socket()).await.is_some());
}

#[tokio::test]
async fn a_broken_fail2ban_is_broken() {
    for fault in Fault::ALL {
        let broken = BrokenFail2ban::start(fault);
        assert!(ping(&broken.socket()).await.is_none(), "{fault:?}");
    }
}

/// Speaks fail2ban's protocol: `["ping"]` and its pong.
async fn ping(socket: &std::path::Path) -> Option<()> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    stream.write_all(b"\x80\x02]X\x04\x00\x00\x00pinga.<F2B_END_COMMAND>").await.ok()?;
    let mut reply = vec![0; 200];
    let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut reply)).await.ok()?.ok()?;
    reply[..read].windows(4).any(|bytes| bytes == b"pong").then_some(())
}

#[tokio::test]
async fn the_proxy_passes_rewrites_swallows_refuses_and_delays() {
    let redis = Redis::start_with(&[]).await;
    let proxy = Proxy::start(redis.socket(), Mode::Pass).await;
    let client = redis::Client::open(format!("redis://{}", proxy.address)).unwrap();
    let get = || async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("ECHO").arg("7.0.15").query_async::<String>(&mut connection).await
    };
    assert_eq!(get().await.unwrap(), "7.0.15");
    proxy.set(Mode::Rewrite(b"7.0.15".to_vec(), b"6.0.16".to_vec()));
    assert_eq!(get().await.unwrap(), "6.0.16");
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let began = Instant::now();
    assert_eq!(get().await.unwrap(), "7.0.15");
    assert!(began.elapsed() >= Duration::from_millis(100));

    proxy.set(Mode::Pass);
    let mut open = client.get_multiplexed_async_connection().await.unwrap();
    proxy.set(Mode::BlackHole);
    assert!(open.get::<_, Option<String>>("a").await.unwrap_err().is_timeout());
    proxy.set(Mode::Pass);
    assert!(open.get::<_, Option<String>>("a").await.unwrap_err().is_timeout(), "what was lost stays lost");
    proxy.set(Mode::Refuse);
    eventually("a refusal", SOON, || async {
        tokio::net::TcpStream::connect(proxy.address).await.err().map(|error| error.kind())
    })
    .await;
    proxy.set(Mode::Pass);
    eventually("an answer", SOON, || async { get().await.ok() }).await;
}

#[tokio::test]
async fn a_child_ends_with_its_guard_and_with_all_its_own_children() {
    let mut command = program("sh");
    command.args(["-c", "sleep 1000 & echo started $!; wait"]);
    let child = Child::start("sh", command);
    let grandchild: i32 =
        child.line("its child's id", SOON, |line| line.strip_prefix("started ")?.parse().ok()).await;
    drop(child);
    eventually("the grandchild's end", SOON, || async {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_fail2ban_that_cannot_start_ends_and_one_that_can_has_a_process() {
    let mut fail2ban = Fail2ban::start(&["app"]).await;
    assert!(fail2ban.pid().is_some());
    fail2ban.write("jail.d/app.conf", "[app]\nlogpath = /none/such.log\n");
    assert!(!fail2ban.try_start_again().await && fail2ban.pid().is_none());
    fail2ban.write("jail.d/app.conf", "");
    assert!(fail2ban.try_start_again().await && fail2ban.pid().is_some());
}

#[tokio::test]
async fn a_small_disk_is_full_when_it_is_filled_and_read_only_when_it_is_mounted_so() {
    let folder = super::folder();
    let Some(disk) = SmallDisk::mount(folder.path(), 8).await else {
        println!("NOT RUN: a small file system cannot be mounted here");
        return;
    };
    let write = || std::fs::write(folder.path().join("file"), "text").is_ok();
    disk.leave_free(0);
    assert!(!write());
    disk.clear();
    assert!(write() && disk.remount("ro").await && !write());
    assert!(disk.remount("rw").await && write());
}
