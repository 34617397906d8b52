//! The counts of a run, and their table.

use std::collections::{BTreeMap, VecDeque};

/// Steps that are shown with a violation.
const SHOWN: usize = 20;

/// Figures by group and name, the last steps, and the violations.
#[derive(Default)]
pub struct Tally {
    figures: BTreeMap<(&'static str, String), u64>,
    last: VecDeque<String>,
    pub violations: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, group: &'static str, name: impl Into<String>) {
        self.add(group, name, 1);
    }

    pub fn add(&mut self, group: &'static str, name: impl Into<String>, more: u64) {
        if more == 0 {
            return;
        }
        *self.figures.entry((group, name.into())).or_default() += more;
    }

    /// Keeps a step, to show it with a violation.
    pub fn step(&mut self, step: String) {
        if std::env::var_os("CHAOS_VERBOSE").is_some() {
            println!("{step}");
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// Records a violation, and prints it after the last steps.
    pub fn violation(&mut self, seed: u64, what: &str) {
        println!("\nVIOLATION: {what}\nCHAOS_SEED={seed}, the last {} steps:", self.last.len());
        for step in &self.last {
            println!("  {step}");
        }
        self.violations.push(what.to_owned());
    }

    /// The table.
    pub fn print(&self, seed: u64, seconds: u64) {
        println!("\nCHAOS_SEED={seed}, {seconds} s\n| what | | count |\n|---|---|---|");
        for ((group, name), count) in &self.figures {
            println!("| {group} | {name} | {count} |");
        }
        println!("| violations | must be 0 | {} |", self.violations.len());
    }
}
