//! Tables: columns by the fields they show, aligned, with every cell fit for a terminal.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::fields::Field;
use crate::domain::printable::printable;

/// What is shown for a missing value.
const NOTHING: &str = "-";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// A column: it sees the fields that it names, and no others.
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// What it shows.
    pub reads: &'static [Field],
    /// How it shows the values of these.
    pub show: fn(&[&Value]) -> String,
}

/// A table as text.
#[derive(Debug, Clone)]
pub struct Table {
    /// The titles of its columns.
    pub titles: Vec<&'static str>,
    /// Its rows; each has a cell for each title.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    /// A row for each item.
    #[must_use]
    pub fn of(columns: &[Column], items: &[Value]) -> Self {
        let titles: Vec<&'static str> = columns.iter().map(|column| column.title).collect();
        let rows = items.iter().map(|item| cells(columns, item)).collect();
        Self { titles, rows }
    }
}

/// The cells of one item.
#[must_use]
pub fn cells(columns: &[Column], item: &Value) -> Vec<String> {
    let cell = |column: &Column| {
        let values: Vec<&Value> = column.reads.iter().map(|field| field.of(item)).collect();
        (column.show)(&values)
    };
    columns.iter().map(cell).collect()
}

/// The table, aligned, without a newline at its end; its titles are bold on a terminal. The last column is not padded.
#[must_use]
pub fn render(table: &Table, styled: bool) -> String {
    let fit = |cell: &String| match printable(cell).trim() {
        "" => NOTHING.to_owned(),
        cell => cell.to_owned(),
    };
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(fit).collect()).collect();
    let titles: Vec<String> = table.titles.iter().map(|&title| title.to_owned()).collect();
    let widest = |column: usize| {
        let cells = rows.iter().chain(std::iter::once(&titles)).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..titles.len()).map(widest).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.width().min(*width)));
        }
        line.trim_end().to_owned()
    };
    let head = if styled { format!("{BOLD}{}{PLAIN}", line(&titles)) } else { line(&titles) };
    std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n")
}

/// The first value as text.
#[must_use]
pub fn text(values: &[&Value]) -> String {
    match values.first() {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first value as a time, to the second: `2026-01-02T03:04:05.678901Z` is `2026-01-02 03:04:05Z`.
#[must_use]
pub fn time(values: &[&Value]) -> String {
    let text = text(values);
    match (text.get(..10), text.get(10..11), text.get(11..19)) {
        (Some(date), Some("T"), Some(time)) if text.ends_with('Z') => format!("{date} {time}Z"),
        _ => text,
    }
}

/// The first value as the end of a ban.
#[must_use]
pub fn until(values: &[&Value]) -> String {
    match values.first() {
        None | Some(Value::Null) => "permanent or unknown".to_owned(),
        _ => time(values),
    }
}

/// The first value as a duration in seconds.
#[must_use]
pub fn seconds(values: &[&Value]) -> String {
    match values.first().and_then(|value| value.as_i64()) {
        Some(-1) => "permanent".to_owned(),
        Some(seconds) => format!("{seconds} s"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_says_where_there_is_nothing() {
        let table = Table {
            titles: vec!["A", "LONG", "B"],
            rows: vec![
                vec!["x".to_owned(), "1".to_owned(), String::new()],
                vec!["\u{4e16}\u{754c}".to_owned(), "22222".to_owned(), "end".to_owned()],
            ],
        };
        let expected = "A     LONG   B\nx     1      -\n\u{4e16}\u{754c}  22222  end";
        assert_eq!(render(&table, false), expected);
        assert!(render(&table, true).starts_with("\u{1b}[1mA     LONG   B\u{1b}[0m\n"));
    }

    #[test]
    fn no_cell_obeys_what_a_server_wrote() {
        let hostile = "a\u{1b}[2J\nforged  row\u{202e}";
        let table = Table { titles: vec!["A"], rows: vec![vec![hostile.to_owned()]] };
        assert_eq!(render(&table, false), "A\na\\u{1b}[2J\\nforged  row\\u{202e}");
    }

    #[test]
    fn values_are_shown_for_people() {
        assert_eq!(time(&[&json!("2026-01-02T03:04:05.678901Z")]), "2026-01-02 03:04:05Z");
        assert_eq!(time(&[&json!("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}")]), "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}");
        assert_eq!(
            (seconds(&[&json!(-1)]), seconds(&[&json!(600)])),
            ("permanent".to_owned(), "600 s".to_owned())
        );
        assert_eq!(text(&[&json!(["a", 1])]), "a, 1");
        assert_eq!(text(&[]), "");
    }
}
