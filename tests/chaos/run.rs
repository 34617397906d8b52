//! The steps: a change by the user, with the neighbour acting or alone, and what must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::host::{Host, KEEPER};
use crate::jails::Kind;
use crate::neighbour::{Act, repair};
use crate::support::{Answer, Client};
use crate::tally::Tally;
use crate::user::{JailRequest, Said, Verb, kind};

/// Steps without a fail2ban after which somebody repairs it.
const DOWN_FOR: u32 = 4;
/// A switch without an outcome is settled within 150 s.
const UNCERTAIN_FOR: Duration = Duration::from_secs(170);
/// How often the table is printed during the run.
const PRINT_INTERVAL: Duration = Duration::from_secs(300);
/// The run stops after so many: more would make nothing clearer.
const MAX_VIOLATIONS: usize = 12;

/// One run.
pub struct Run {
    pub host: Arc<Host>,
    pub client: Client,
    pub seed: u64,
    pub tally: Tally,
    pub began: Instant,
    /// Jails that were seen running and not switched off since.
    pub expected: BTreeSet<String>,
    /// Jails whose last switch had no certain outcome: until this time they may run or not.
    pub uncertain: BTreeMap<String, Instant>,
    /// The expected jails that were missing after the last step.
    pub missing: BTreeSet<String>,
    /// The jail of the pending recovery.
    pub pending: Option<String>,
    dice: SmallRng,
    down_for: u32,
}

/// The host before a step.
struct Before {
    running: Option<BTreeSet<String>>,
    files: BTreeMap<String, Vec<u8>>,
    sound: bool,
    /// Whether nobody else acts, and nothing waits to be undone.
    alone: bool,
    /// Whether no act can lose a jail, whatever the outcome of the change.
    harmless: bool,
}

impl Run {
    pub fn new(host: Arc<Host>, client: Client, seed: u64) -> Self {
        Self {
            host,
            client,
            seed,
            tally: Tally::default(),
            began: Instant::now(),
            expected: BTreeSet::from([KEEPER.to_owned()]),
            uncertain: BTreeMap::new(),
            missing: BTreeSet::new(),
            pending: None,
            dice: SmallRng::seed_from_u64(seed),
            down_for: 0,
        }
    }

    /// Takes steps until the time is over; then settles.
    pub async fn steps(&mut self, seconds: u64) {
        let (mut number, mut shown) = (0, Duration::ZERO);
        while self.began.elapsed() < Duration::from_secs(seconds)
            && self.tally.violations.len() < MAX_VIOLATIONS
        {
            number += 1;
            self.step(number).await;
            if self.began.elapsed() > shown + PRINT_INTERVAL {
                shown = self.began.elapsed();
                self.tally.print(self.seed, shown.as_secs());
            }
        }
        self.settle().await;
    }

    async fn step(&mut self, number: u64) {
        let change = self.roll_change().await;
        let acts = self.roll_acts();
        let running = self.host.running().await;
        let before = Before {
            alone: acts.is_empty() && self.host.agent.lock().await.info().await.interrupted_change.is_none(),
            harmless: acts.iter().all(|(_, act)| act.harmless()) && self.missing.is_empty(),
            files: self.host.files(),
            sound: !self.host.damaged.load(Relaxed) && running.is_some(),
            running,
        };
        let neighbour = async {
            for (pause, act) in &acts {
                tokio::time::sleep(*pause).await;
                act.run(&self.host).await;
            }
        };
        let asking = async {
            let answer = change.send_and_follow(&self.client).await;
            let known = if before.alone { self.host.running().await } else { None };
            (answer, known, self.host.files())
        };
        let ((answer, running, files), ()) = tokio::join!(asking, neighbour);
        self.count(&change, &acts, &answer);
        let mut violations = match before.alone {
            true => alone(&self.host, &change, &answer, &before, &running, &files),
            false => Vec::new(),
        };
        self.expect_after(&change, &answer);
        let seen = self.look().await;
        let lost: Vec<&String> = self.missing.iter().filter(|jail| **jail != change.jail).collect();
        if before.sound && before.harmless && !lost.is_empty() && change.verb != Verb::RollBack {
            violations.push(format!("lost on a sound host, though nobody did any harm: {lost:?}"));
        }
        self.down_for = if seen.running.is_some() && seen.answers { 0 } else { self.down_for + 1 };
        let acts: Vec<String> = acts.iter().map(|(_, act)| format!("{act:?}")).collect();
        self.tally.step(format!(
            "#{number} {:.1} s: {:?} {} -> {}{} | {} | {}",
            self.began.elapsed().as_secs_f64(),
            change.verb,
            change.jail,
            kind(&answer),
            answer.body["detail"].as_str().map(|detail| format!(" ({detail})")).unwrap_or_default(),
            if acts.is_empty() { "alone".to_owned() } else { acts.join(", ") },
            seen.text
        ));
        for violation in violations.into_iter().chain(seen.violation) {
            self.tally.violation(self.seed, &format!("step #{number}: {violation}"));
            let agent = self.host.agent.lock().await;
            let lines = agent.process.as_ref().map(crate::support::process::Child::lines).unwrap_or_default();
            println!("The agent's last lines:\n{}", lines[lines.len().saturating_sub(12)..].join("\n"));
        }
    }

    async fn roll_change(&mut self) -> JailRequest {
        let missing: Vec<String> = self.missing.iter().cloned().collect();
        if !missing.is_empty() && self.dice.random_range(0..3) == 0 {
            let jail = missing[self.dice.random_range(0..missing.len())].clone();
            let verb = if self.dice.random_range(0..2) == 0 { Verb::Activate } else { Verb::Deactivate };
            return JailRequest { verb, jail };
        }
        let good = self.dice.random_range(0..3) > 0;
        let of_kind = |jail: &&crate::jails::Jail| (jail.kind == Kind::Good) == good;
        let jails: Vec<_> = self.host.jails.all.iter().filter(of_kind).collect();
        let jail = jails[self.dice.random_range(0..jails.len())].name.clone();
        let runs = self.expected.contains(&jail);
        JailRequest { verb: Verb::roll(&mut self.dice, runs), jail }
    }

    fn roll_acts(&mut self) -> Vec<(Duration, Act)> {
        if self.down_for >= DOWN_FOR {
            return vec![(Duration::ZERO, Act::Repair)];
        }
        let count = [0, 0, 1, 1, 2, 3][self.dice.random_range(0..6)];
        (0..count)
            .map(|_| {
                let jail = match self.dice.random_range(0..5) {
                    0..3 => self.expected.iter().nth(self.dice.random_range(0..self.expected.len().max(1))),
                    _ => None,
                };
                let any = self.dice.random_range(0..self.host.jails.all.len());
                let jail = jail.unwrap_or(&self.host.jails.all[any].name).clone();
                let pause = Duration::from_millis(self.dice.random_range(0..700));
                (pause, Act::roll(&mut self.dice, &jail))
            })
            .collect()
    }

    fn count(&mut self, change: &JailRequest, acts: &[(Duration, Act)], answer: &Answer) {
        self.tally.count("steps", change.verb.group());
        for (_, act) in acts {
            self.tally.count("neighbour", act.group());
        }
        if !answer.status.is_success() {
            self.tally.count("refusals", kind(answer));
        }
    }

    /// Updates which jails are expected to run.
    fn expect_after(&mut self, change: &JailRequest, answer: &Answer) {
        let until = Instant::now() + UNCERTAIN_FOR;
        let jail = &change.jail;
        match (&change.verb, Said::of(answer)) {
            (Verb::Activate | Verb::Deactivate, Said::Done) => {
                self.uncertain.remove(jail);
                if change.verb == Verb::Deactivate {
                    self.expected.remove(jail);
                }
            }
            // A jail that was not switched off must run, whatever else went wrong.
            (Verb::Deactivate, Said::Unknown) if answer.status.as_u16() != 500 => {
                self.expected.remove(jail);
                self.uncertain.insert(jail.clone(), until);
            }
            (Verb::Activate, Said::Unknown) if !self.expected.contains(jail) => {
                self.uncertain.insert(jail.clone(), until);
            }
            (Verb::RollBack, Said::Done) => {
                let jail = answer.body["jail"].as_str().unwrap();
                self.uncertain.remove(jail);
                self.expected.remove(jail);
            }
            (Verb::RollBack, Said::Unknown) => {
                let pending: Vec<String> = self.pending.iter().cloned().collect();
                for jail in pending {
                    self.expected.remove(&jail);
                    self.uncertain.insert(jail, until);
                }
            }
            _ => {}
        }
    }

    /// Puts everything in order and switches every missing jail on or off: then the state must be good, and no stray file left.
    async fn settle(&mut self) {
        repair(&self.host).await;
        let agent_is_done =
            async { self.host.agent.lock().await.info().await.interrupted_change.is_none().then_some(()) };
        if agent_is_done.await.is_none() {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        repair(&self.host).await;
        let seen = self.look().await;
        if let Some(violation) = seen.violation {
            self.tally.violation(self.seed, &format!("after the repair: {violation}"));
        }
        self.decide_missing().await;
        for violation in self.at_the_end().await {
            self.tally.violation(self.seed, &format!("at the end: {violation}"));
        }
    }

    async fn decide_missing(&mut self) {
        for jail in self.missing.clone() {
            for verb in [Verb::Activate, Verb::Deactivate] {
                let change = JailRequest { verb: verb.clone(), jail: jail.clone() };
                let answer = change.send(&self.client).await;
                self.tally.step(format!("at the end: {verb:?} {jail} -> {}", kind(&answer)));
                if answer.status.is_success() {
                    if verb == Verb::Deactivate {
                        self.expected.remove(&jail);
                    }
                    break;
                }
            }
        }
    }
}

/// What must hold after a change during which nobody else acted.
fn alone(
    host: &Host,
    change: &JailRequest,
    answer: &Answer,
    before: &Before,
    running: &Option<BTreeSet<String>>,
    files: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let jail = &change.jail;
    let (asked, said) = (&change.verb, Said::of(answer));
    if said == Said::Refused {
        if before.files != *files {
            let differing: BTreeSet<_> = before.files.iter().chain(files).map(|(name, _)| name).collect();
            let differing: Vec<_> =
                differing.iter().filter(|name| before.files.get(**name) != files.get(**name)).collect();
            wrong.push(format!("refused, and these files differ: {differing:?}"));
        }
        // A fail2ban that is ending runs no jails, and a moment later it is gone: both count as none.
        let jails = |running: &Option<BTreeSet<String>>| running.clone().unwrap_or_default();
        if before.running.is_some() && jails(&before.running) != jails(running) {
            wrong.push(format!("refused, ran {:?}, run {running:?}", before.running));
        }
    }
    if let (Some(ran), Some(run)) = (&before.running, running) {
        let switches = matches!(asked, Verb::Activate | Verb::Deactivate | Verb::RollBack);
        let lost: Vec<_> = ran.difference(run).filter(|name| !switches || *name != jail).collect();
        if !lost.is_empty() && *asked != Verb::RollBack {
            wrong.push(format!("other jails were lost by it: {lost:?}"));
        }
        let on = match asked {
            Verb::Activate => Some(true),
            Verb::Deactivate => Some(false),
            _ => None,
        };
        if said == Said::Done
            && answer.status.as_u16() == 200
            && on.is_some_and(|on| on != run.contains(jail))
        {
            wrong.push(format!("answered 200, and {jail} runs: {}", run.contains(jail)));
        }
    }
    if *asked == Verb::Look
        && let Some(run) = running
        && said == Said::Done
    {
        let items = answer.body["items"].as_array().into_iter().flatten();
        let active = items.filter(|item| item["active"] == true);
        let listed: BTreeSet<String> =
            active.filter_map(|item| Some(item["name"].as_str()?.to_owned())).collect();
        if listed != *run {
            wrong.push(format!("the list of jails has {listed:?} active, and {run:?} run"));
        }
    }
    let of = host.jail(jail).map(|jail| jail.kind);
    if before.sound && *asked == Verb::Activate {
        if of == Some(Kind::Good) && said == Said::Refused {
            wrong.push(format!("a good jail was refused on a sound host: {}", answer.text));
        }
        if of == Some(Kind::Bad) && said == Said::Done {
            wrong.push("a bad jail was taken".to_owned());
        }
    }
    wrong
}
