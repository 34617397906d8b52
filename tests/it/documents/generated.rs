//! Parts of documents that are generated from the code.
//!
//! ```text
//! <!-- generated: NAME -->
//! | column | column | what to do |
//! ...
//! <!-- end -->
//! ```
//!
//! With `INSTA_UPDATE=always` (as `make docs` sets it) a part is rewritten, otherwise it must be up to date. The last column
//! of some tables is written by hand: it is kept as long as the rest of its row stays the same. If only the text of a row changes
//! (same file, same number of rows), it moves to the new row.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file may have several parts, whose tests run at the same time.
static WRITING: Mutex<()> = Mutex::new(());

/// A row of a table.
pub struct Row {
    cells: Vec<String>,
    /// Whether the row has a last column that is written by hand.
    advice: bool,
}

impl Row {
    /// A row that is generated as a whole.
    pub fn complete<const N: usize>(cells: [String; N]) -> Self {
        Self { cells: cells.map(escape).into(), advice: false }
    }

    /// A row whose last column is written by hand.
    pub fn with_advice<const N: usize>(cells: [String; N]) -> Self {
        Self { cells: cells.map(escape).into(), advice: true }
    }

    /// The same row with the last column of the old table.
    fn advised(
        self,
        old: &[Vec<String>],
        unmatched: &mut Vec<(usize, Vec<String>)>,
        at: usize,
    ) -> Vec<String> {
        let Self { mut cells, advice } = self;
        if advice {
            let kept = old.iter().find(|row| row[0] == cells[0]).and_then(|row| row.last());
            if kept.is_none() {
                unmatched.push((at, cells.clone()));
            }
            cells.push(kept.cloned().unwrap_or_default());
        }
        cells
    }
}

/// The text of a cell: on one line, with `|` escaped.
fn escape(cell: String) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
}

/// Checks or rewrites a table.
pub fn table(file: &str, name: &str, header: &[&str], rows: Vec<Row>) {
    part(file, name, |old| {
        let old: Vec<Vec<String>> = old.lines().skip(2).map(cells_of).collect();
        let mut unmatched = Vec::new();
        let mut new: Vec<Vec<String>> =
            rows.into_iter().enumerate().map(|(at, row)| row.advised(&old, &mut unmatched, at)).collect();
        move_advice(&old, &mut new, &unmatched);
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ").trim_end());
        let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
        let mut text = line(&header) + &format!("|{}\n", "---|".repeat(header.len()));
        text.extend(new.iter().map(|cells| line(cells)));
        for cells in &new {
            let complete = cells.iter().all(|cell| !cell.is_empty()) || !is_advised(header.len(), cells);
            assert!(complete || updating(), "{file}: write what to do about {}", cells[0]);
        }
        text
    });
}

/// Columns of complete tables may be empty, such as a default; the hand-written column may not.
fn is_advised(columns: usize, cells: &[String]) -> bool {
    cells.len() == columns && cells.last().is_some_and(String::is_empty)
}

/// If a file (the second cell) lost as many texts as it gained, the new ones count as the old ones reworded.
fn move_advice(old: &[Vec<String>], new: &mut [Vec<String>], unmatched: &[(usize, Vec<String>)]) {
    let lost: Vec<&Vec<String>> =
        old.iter().filter(|row| !new.iter().any(|kept| kept[0] == row[0])).collect();
    for (at, cells) in unmatched {
        let of_file = |row: &&&Vec<String>| row.get(1) == cells.get(1);
        let lost: Vec<_> = lost.iter().filter(of_file).collect();
        let gained: Vec<_> = unmatched.iter().filter(|(_, other)| other.get(1) == cells.get(1)).collect();
        if lost.len() == gained.len() {
            let place = gained.iter().position(|(other, _)| other == at).unwrap();
            if let (Some(cell), Some(advice)) = (new[*at].last_mut(), lost[place].last()) {
                cell.clone_from(advice);
            }
        }
    }
}

fn cells_of(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in line.trim().trim_start_matches('|').chars() {
        match c {
            '|' if !escaped => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    cells.pop(); // What follows the last bar.
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Checks or rewrites a text.
pub fn list(file: &str, name: &str, text: &str) {
    part(file, name, |_| text.to_owned());
}

fn updating() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always")
}

fn part(file: &str, name: &str, make: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{file} has no part {start}"));
    let (old, after) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{file}: {name} has no end"));
    let new = make(old);
    if updating() {
        std::fs::write(&path, format!("{before}{start}{new}<!-- end -->{after}")).unwrap();
        return;
    }
    let differs = new.lines().find(|line| !old.lines().any(|known| known == *line));
    let left_over = old.lines().find(|line| !new.lines().any(|known| known == *line));
    assert!(
        new == old,
        "{file}, part {name}, is out of date: run `make docs`.\nmissing:   {differs:?}\nleft over: {left_over:?}"
    );
}

#[test]
fn a_cell_may_hold_what_ends_a_cell() {
    let cell = "a | b \\ c";
    let row = Row::complete([cell.to_owned(), "d".to_owned()]);
    let line = format!("| {} |", row.cells.join(" | "));
    assert_eq!(cells_of(&line), row.cells);
    assert_eq!(row.cells[0], "a \\| b \\\\ c");
}

#[test]
fn advice_stays_with_its_text_and_moves_along_when_the_text_is_reworded() {
    let old = [["`a`", "x", "do a"], ["`b`", "x", "do b"], ["`c`", "y", "do c"]];
    let old: Vec<Vec<String>> = old.map(|row| row.map(str::to_owned).to_vec()).to_vec();
    let rows = [["`a`", "x"], ["`b2`", "x"], ["`c`", "y"], ["`d`", "z"]];
    let mut unmatched = Vec::new();
    let mut new: Vec<Vec<String>> = rows
        .into_iter()
        .enumerate()
        .map(|(at, row)| Row::with_advice(row.map(str::to_owned)).advised(&old, &mut unmatched, at))
        .collect();
    move_advice(&old, &mut new, &unmatched);
    let advice: Vec<&str> = new.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(advice, ["do a", "do b", "do c", ""]);
}
