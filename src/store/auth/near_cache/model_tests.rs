//! The scripts of the near cache once more, in Rust, and what must hold of the model with them: never an acceptance after an
//! answered revocation. Each rule can be taken away, and then the model must find the hole.

use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::acts::{ACCOUNTS, ALL, Redis, Revoked, Rules, Session, account_of, act_of, histories};
use super::model::{Happened, World};
use super::wait::{Listed, Looked};

/// Rules of the scripts that can be taken away.
#[derive(Clone, Copy)]
struct ScriptRules {
    renewal_carries_the_number: bool,
    incarnation: bool,
    settling_looks_again: bool,
}

const SCRIPTS: ScriptRules =
    ScriptRules { renewal_carries_the_number: true, incarnation: true, settling_looks_again: true };

#[derive(Clone, Default)]
struct Memory {
    live: BTreeSet<Session>,
    incarnation: Option<(u32, u32)>,
    number: u64,
    unsettled: bool,
    holders: BTreeMap<String, u64>,
}

struct Scripts {
    rules: ScriptRules,
    run_id: u32,
    random: u32,
    /// Keeps running, whatever Redis forgets.
    time: u64,
    memory: Memory,
}

impl Scripts {
    /// What joining and revoking begin with.
    fn incarnation(&mut self) -> String {
        self.random += 1;
        let another = self.memory.incarnation.is_none_or(|(run_id, _)| run_id != self.run_id);
        if another && self.rules.incarnation {
            self.memory.incarnation = Some((self.run_id, self.random));
            self.memory.unsettled = true;
            self.memory.holders.clear();
        }
        self.named()
    }

    fn named(&self) -> String {
        self.memory
            .incarnation
            .map_or_else(|| "x".to_owned(), |(run_id, random)| format!("{run_id}.{random}"))
    }

    fn listed(&self, incarnation: String, holders: Vec<String>) -> Listed {
        Listed { incarnation, number: self.memory.number, settled: !self.memory.unsettled, holders }
    }
}

impl Redis for Scripts {
    type Memory = Memory;

    fn login(&mut self, session: Session) {
        self.memory.live.insert(session);
    }

    fn read(&mut self, session: Session) -> bool {
        self.memory.live.contains(&session)
    }

    fn join(&mut self, id: &str) -> (String, u64) {
        let incarnation = self.incarnation();
        self.memory.holders.insert(id.to_owned(), self.memory.number);
        (incarnation, self.memory.number)
    }

    fn renew(&mut self, id: &str, incarnation: &str, number: u64) -> i64 {
        let own = self.memory.incarnation.is_some_and(|(run_id, _)| run_id == self.run_id);
        let same = own && self.named() == incarnation || !self.rules.incarnation;
        let Some(applied) = self.memory.holders.get_mut(id).filter(|_| same) else { return -1 };
        *applied = number;
        i64::from(number == self.memory.number || !self.rules.renewal_carries_the_number)
    }

    fn leave(&mut self, id: &str) {
        self.memory.holders.remove(id);
    }

    fn revoke(&mut self, ends: Revoked) -> (Vec<u8>, Listed) {
        let named = if let Revoked::All(account) = ends { ACCOUNTS[account] } else { "" };
        let (mut ended, all_of) = ([0; 32], format!("all:{named}"));
        let what = match ends {
            Revoked::One(session) => {
                self.memory.live.remove(&session);
                ended[..4].copy_from_slice(&session.to_be_bytes());
                &ended[..]
            }
            Revoked::All(account) => {
                self.memory.live.retain(|session| account_of(*session) != account);
                all_of.as_bytes()
            }
            Revoked::Nothing => b"none",
        };
        let incarnation = self.incarnation();
        let previous = self.memory.number;
        self.time += 3;
        self.memory.number = self.time.max(previous + 1);
        let head = format!("{incarnation}|{previous}|{}|", self.memory.number);
        let holders = self.memory.holders.keys().cloned().collect();
        ([head.as_bytes(), what].concat(), self.listed(incarnation, holders))
    }

    fn behind(&mut self) -> Listed {
        let own = self.memory.incarnation.is_some_and(|(run_id, _)| run_id == self.run_id);
        if !own && self.rules.incarnation {
            return Listed { incarnation: String::new(), number: 0, settled: false, holders: Vec::new() };
        }
        let number = self.memory.number;
        let behind = self.memory.holders.iter().filter(|(_, applied)| **applied != number);
        self.listed(self.named(), behind.map(|(id, _)| id.clone()).collect())
    }

    fn look(&mut self, holders: &[String]) -> Looked {
        let applied = holders.iter().map(|id| self.memory.holders.get(id).copied()).collect();
        Looked { incarnation: Some(self.named()), number: Some(self.memory.number), applied }
    }

    fn settle(&mut self, listed: &Listed) {
        if self.named() != listed.incarnation {
            return;
        }
        self.memory.unsettled = false;
        for id in &listed.holders {
            let silent = self.memory.holders.get(id).is_some_and(|applied| *applied < listed.number);
            if silent || !self.rules.settling_looks_again {
                self.memory.holders.remove(id);
            }
        }
    }

    fn memory(&mut self) -> Memory {
        self.memory.clone()
    }

    fn restart(&mut self, memory: Option<&Memory>) {
        self.run_id += 1;
        let live = std::mem::take(&mut self.memory.live);
        self.memory = memory.cloned().unwrap_or(Memory { live, ..Memory::default() });
    }
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() }
}

/// Plays random histories; returns the first one with an acceptance after the answer, if any.
fn hole(mut runner: TestRunner, rules: Rules, scripts: ScriptRules) -> (Option<String>, Happened) {
    let happened = std::cell::Cell::new(Happened::default());
    let found = runner.run(&histories(), |history| {
        let redis = Scripts { rules: scripts, run_id: 1, random: 0, time: 0, memory: Memory::default() };
        let mut world = World::new(redis, rules);
        let lived = world.live_through(history.into_iter().map(act_of));
        let (all, one) = (happened.get(), world.happened);
        happened.set(Happened {
            hits: all.hits + one.hits,
            confirmed: all.confirmed + one.confirmed,
            lease: all.lease + one.lease,
            unknown_holders: all.unknown_holders + one.unknown_holders,
            rejoined: all.rejoined + one.rejoined,
            behind: all.behind + one.behind,
        });
        lived.map_err(|error| TestCaseError::fail(error.to_string()))
    });
    let verdict = match found {
        Ok(()) => None,
        Err(TestError::Fail(why, history)) => {
            Some(format!("{why} of {:?}", history.into_iter().map(act_of).collect::<Vec<_>>()))
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    };
    (verdict, happened.get())
}

#[test]
fn no_session_is_accepted_after_its_revocation_was_answered() {
    // Others at each run.
    let (hole, happened) = hole(TestRunner::new(config(1_500)), ALL, SCRIPTS);
    assert_eq!(hole, None);
    let Happened { hits, confirmed, lease, unknown_holders, rejoined, behind } = happened;
    let least = [hits, confirmed, lease, unknown_holders, rejoined, behind].into_iter().min();
    assert!(least > Some(100), "nothing is proved by what does not happen: {happened:?}");
}

/// Fails unless taking the rule away opens a hole; prints the shortest history that leads into it.
fn must_open(rules: Rules, scripts: ScriptRules) {
    let same_each_time = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let runner = TestRunner::new_with_rng(config(10_000), same_each_time);
    let hole = hole(runner, rules, scripts).0.expect("a hole");
    assert!(hole.contains(" accepts "), "{hole}");
    println!("{hole}");
}

#[test]
fn without_the_number_in_a_renewal_there_is_a_hole() {
    must_open(ALL, ScriptRules { renewal_carries_the_number: false, ..SCRIPTS });
}

#[test]
fn without_the_wait_for_the_lease_there_is_a_hole() {
    must_open(Rules { waits_for_the_lease: false, ..ALL }, SCRIPTS);
}

#[test]
fn without_the_incarnation_there_is_a_hole() {
    must_open(ALL, ScriptRules { incarnation: false, ..SCRIPTS });
}

#[test]
fn without_the_mark_of_a_fill_there_is_a_hole() {
    must_open(Rules { fills_are_marked: false, ..ALL }, SCRIPTS);
}

#[test]
fn without_a_second_look_before_silent_holders_are_removed_there_is_a_hole() {
    must_open(ALL, ScriptRules { settling_looks_again: false, ..SCRIPTS });
}
