//! The files for deployment: numbers that depend on each other match, and the systemd units are as confined as they claim.
//! `make test-manifests` checks the Kubernetes manifests; `make test-deploy` runs docker-compose.yml.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The number after `word` in a text.
fn number_after(text: &str, word: &str) -> u64 {
    let rest = &text[text.find(word).unwrap_or_else(|| panic!("no {word:?}")) + word.len()..];
    let digits: String =
        rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn a_worker_is_out_of_the_load_balancer_well_before_it_ends() {
    let (haproxy, compose) = (read(".deploy/haproxy.cfg"), read("docker-compose.yml"));
    let checks = haproxy.lines().find(|line| line.trim_start().starts_with("default-server")).unwrap();
    let seen_after = number_after(checks, "inter") * number_after(checks, "fall");
    let drain = number_after(&compose, "BANGUI_DRAIN_SECONDS:");
    assert!(seen_after * 2 <= drain, "seen after {seen_after} s, gone after {drain} s");
    assert!(number_after(&compose, "stop_grace_period:") >= drain + 15);
    assert!(haproxy.contains("deny deny_status 404 if { path /metrics }"));
    let mut said = haproxy.lines().filter(|line| !line.trim_start().starts_with('#'));
    assert!(
        !said.any(|line| line.contains("cookie") || line.contains("stick")),
        "any worker answers any request"
    );
}

#[test]
fn in_kubernetes_the_grace_period_is_the_drain_and_15_s() {
    let (config, worker) = (read("k8s/base/config.yaml"), read("k8s/base/worker.yaml"));
    assert!(!worker.contains("lifecycle:"), "the drain is the program's");
    let drain = number_after(&config, "BANGUI_DRAIN_SECONDS:");
    assert_eq!(number_after(&worker, "terminationGracePeriodSeconds:"), drain + 15);
    let ready = &worker[worker.find("readinessProbe:").unwrap()..];
    let seen_after = number_after(ready, "periodSeconds:") * number_after(ready, "failureThreshold:");
    assert!(seen_after < drain, "a worker must be out of the service before it ends");
}

#[test]
fn deployments_keep_metrics_from_strangers_and_refuse_foreign_hosts() {
    for (file, metrics, hosts) in [
        (
            "docker-compose.yml",
            "BANGUI_METRICS_LISTEN: 0.0.0.0:9100",
            "BANGUI_ALLOWED_HOSTS: ${BANGUI_ALLOWED_HOSTS:-localhost,",
        ),
        (
            "k8s/base/config.yaml",
            "BANGUI_METRICS_LISTEN: 0.0.0.0:9100",
            "BANGUI_ALLOWED_HOSTS: bangui.example,",
        ),
    ] {
        let text = read(file);
        assert!(text.contains(metrics) && text.contains(hosts), "{file}");
    }
    // It is not reachable from outside.
    assert!(
        !read("k8s/base/network.yaml").contains("metrics") && !read(".deploy/haproxy.cfg").contains("9100")
    );
    let network = read("k8s/base/network.yaml");
    assert!(network.contains("ingress:\n    - from:"), "workers are open to the load balancer alone");
}

#[test]
fn no_manifest_holds_a_secret_that_works() {
    for folder in ["k8s/base", "k8s/agents", "k8s/redis", "k8s/external-redis", "k8s/monitoring"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for word in ["BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY", "stringData", "replace-this-"] {
                assert!(!text.contains(word), "{} has {word}", path.display());
            }
        }
    }
}

#[test]
fn the_bill_of_materials_names_what_is_compiled_in_and_nothing_else() {
    let output = Command::new(root().join(".ci/sbom")).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bill: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let components = bill["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    for name in ["axum", "rustls", "redis", "argon2"] {
        let component = named(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
    }
    for name in ["proptest", "insta", "rcgen", "bangui"] {
        assert!(named(name).is_none(), "{name} is not compiled in");
    }
}

#[test]
fn the_units_of_systemd_are_closed() {
    for (unit, most) in [("bangui-worker@.service", 19), ("bangui-agent.service", 29)] {
        let path: PathBuf = root().join(".deploy/systemd").join(unit);
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &format!("--threshold={most}")])
            .arg(path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let verdict = text.lines().find(|line| line.contains("Overall")).unwrap_or_default();
        assert!(output.status.success(), "{unit} is to stay below {most} tenths: {verdict}");
    }
}

/// What systemd says about these units, in a separate file system in which the program exists.
fn verified(spoil: impl Fn(String) -> String) -> String {
    let files = tempfile::tempdir().unwrap();
    let (units, programs) = (files.path().join("etc/systemd/system"), files.path().join("usr/local/bin"));
    std::fs::create_dir_all(&units).unwrap();
    std::fs::create_dir_all(&programs).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_bangui"), programs.join("bangui")).unwrap();
    for unit in ["bangui-agent.service", "bangui-worker@.service"] {
        std::fs::write(units.join(unit), spoil(read(&format!(".deploy/systemd/{unit}")))).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args([
            "verify",
            "--man=no",
            "--recursive-errors=no",
            "bangui-agent.service",
            "bangui-worker@8081.service",
        ])
        .arg(format!("--root={}", files.path().display()))
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        if output.status.success() { "" } else { "refused" }
    )
}

#[test]
fn systemd_knows_every_line_of_the_units() {
    assert_eq!(verified(|unit| unit), "");
    assert!(verified(|unit| unit.replace("ProtectClock", "ProtectClok")).contains("ProtectClok"));
    assert!(verified(|unit| unit.replace("bin/bangui", "bin/bangui2")).contains("refused"));
}

#[test]
fn every_variable_that_the_files_for_deploying_name_is_one() {
    let known: Vec<&str> = bangui::config::variables::ALL.iter().map(|variable| variable.name).collect();
    for file in [
        "Dockerfile",
        "docker-compose.yml",
        "k8s/base/config.yaml",
        "k8s/base/worker.yaml",
        "k8s/base/secrets.yaml",
        "k8s/agents/agent.yaml",
        ".ci/k8s/kustomization.yaml",
        ".ci/test-deploy",
        "k8s/external-redis/kustomization.yaml",
        ".deploy/systemd/bangui-worker@.service",
        ".deploy/systemd/bangui-agent.service",
    ] {
        let text = read(file);
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())) {
            let name = word.strip_suffix("_FILE").unwrap_or(word);
            let own = ["BANGUI_PORT", "BANGUI_SUBNET", "BANGUI_NAME", "BANGUI_IMAGE", "BANGUI_HOST_IMAGE"]
                .contains(&name);
            if name.starts_with("BANGUI_") && !own {
                assert!(known.contains(&name), "{file} names {word}");
            }
        }
    }
}
