//! Printing: a table on a terminal, tab-separated without a head when piped, or JSON.

use crate::args::Format;
use crate::failure::{Failure, Kind};
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// Spaces between two columns of a table.
const GAP: usize = 2;

/// Rows under a head.
pub(crate) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(head: &'static [&'static str]) -> Table {
        Table { head, rows: Vec::new() }
    }

    /// Adds a row with one cell per column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.head.len(), "a row has a cell per column");
        self.rows.push(cells.to_vec());
    }

    /// The same of as many cells as there are columns.
    pub(crate) fn cells(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "a row has a cell per column");
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For people: aligned, with its head.
    pub(crate) fn aligned(&self) -> String {
        let escape = |row: &Vec<String>| row.iter().map(|cell| printable(cell)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(escape).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let head: Vec<String> = self.head.iter().map(|name| name.to_string()).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&rows) {
            let padded = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}"));
            let line = padded.collect::<Vec<_>>().join(&" ".repeat(GAP));
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// For programs: one line per row, cells between tabs. Tabs and line ends inside are escaped,
    /// and so is what else a terminal would obey.
    pub(crate) fn separated(&self) -> String {
        self.rows.iter().map(|row| separated(row)).collect()
    }

    /// Prints it in the form stdout asks for.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        match std::io::stdout().is_terminal() {
            true => text(&self.aligned()),
            false => text(&self.separated()),
        }
    }
}

/// One line, its cells between tabs, as [`Table::separated`] has them.
pub(crate) fn separated(cells: &[String]) -> String {
    let escape = |cell: &String| printable(&cell.replace('\\', "\\\\"));
    cells.iter().map(escape).collect::<Vec<_>>().join("\t") + "\n"
}

/// A text that moves no cursor and changes no colour: control characters as `\t`, `\n` or
/// `\u{1b}`.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => printable.extend(letter.escape_default()),
            false => printable.push(letter),
        }
    }
    printable
}

/// Prints a body as JSON, or what `table` makes of it.
pub(crate) fn body(
    format: Format,
    body: &Value,
    table: impl FnOnce(&Value) -> Table,
) -> Result<(), Failure> {
    match format {
        Format::Json => json(body),
        Format::Table => table(body).print(),
    }
}

/// Prints a body as JSON, or a sentence about it.
pub(crate) fn sentence(format: Format, body: &Value, words: &str) -> Result<(), Failure> {
    match format {
        Format::Json => json(body),
        Format::Table => text(words),
    }
}

/// Prints JSON: one line when piped, so that a line is a document; indented for people.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    match std::io::stdout().is_terminal() {
        true => text(&format!("{value:#}\n")),
        false => text(&format!("{value}\n")),
    }
}

/// Prints text as it is and flushes.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// Prints bytes as they are and flushes. A reader that has gone ends the command quietly, as it
/// does for other tools in a pipe.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Failure::silent(Kind::Failed))
        }
        other => Ok(other?),
    }
}

/// Says something to the person, never to the program behind a pipe.
pub(crate) fn hint(text: &str) {
    eprintln!("{text}");
}

/// Whether stdout may be coloured.
pub(crate) fn is_coloured() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !is_refused
}

/// A word in the colour of its meaning: good, doubtful or bad.
pub(crate) fn coloured(word: &str, health: &str) -> String {
    let code = match health {
        "healthy" => "32",
        "degraded" => "33",
        _ => "31",
    };
    match is_coloured() {
        true => format!("\x1b[{code}m{word}\x1b[0m"),
        false => word.to_string(),
    }
}

/// A field of a JSON object as a cell: strings bare, nothing as `-`, lists with commas.
pub(crate) fn cell(object: &Value, name: &str) -> String {
    plain(&object[name])
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_string(),
        Value::String(text) if text.is_empty() => "-".to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["KEY", "VALUE"]);
        table.row(["a".to_string(), "one\ttwo".to_string()]);
        table.row(["longer".to_string(), "3".to_string()]);
        table
    }

    #[test]
    fn people_get_columns_and_a_head() {
        assert_eq!(sample().aligned(), "KEY     VALUE\na       one\\ttwo\nlonger  3\n");
    }

    #[test]
    fn programs_get_tabs_and_no_head() {
        assert_eq!(sample().separated(), "a\tone\\ttwo\nlonger\t3\n");
    }

    #[test]
    fn no_cell_commands_the_terminal() {
        let mut table = Table::new(&["KIND"]);
        table.row(["a\x1b[31mb\u{9b}c\\".to_string()]);
        assert_eq!(table.aligned(), "KIND\na\\u{1b}[31mb\\u{9b}c\\\n");
        assert_eq!(table.separated(), "a\\u{1b}[31mb\\u{9b}c\\\\\n");
    }

    #[test]
    fn a_cell_says_nothing_with_a_dash() {
        let object = serde_json::json!({"name": "n1", "roles": ["a", "b"], "matched": null});
        assert_eq!(cell(&object, "name"), "n1");
        assert_eq!(cell(&object, "roles"), "a,b");
        assert_eq!(cell(&object, "matched"), "-");
        assert_eq!(cell(&object, "absent"), "-");
    }
}
