//! The command's flags.

use super::rows::{ROWS, Row};

pub(super) const USAGE: &str = "\
cargo xtask compare-etcd [--quick] [--rows A,B] [--rounds N] [--seconds N]

  --quick       one round of two seconds, two kills
  --rows A,B    only these rows; docs/performance.md is then left alone
  --rounds N    how often each side is measured [default: 3]
  --seconds N   how long each load goes on [default: 8]
";

/// What is measured, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// Names of rows; all when there is none.
    pub(super) only: Vec<String>,
    /// Turns of each side.
    pub(super) rounds: usize,
    /// Of each load.
    pub(super) seconds: u64,
    /// Kills, and stops, in a turn.
    pub(super) kills: usize,
    /// As it was typed, for the page.
    pub(super) line: String,
}

impl Options {
    /// Reads the flags.
    pub(super) fn parse(arguments: &[String]) -> Result<Options, String> {
        let is_quick = arguments.iter().any(|word| word == "--quick");
        let (rounds, seconds, kills) = if is_quick { (1, 2, 2) } else { (3, 8, 3) };
        let line = format!("cargo xtask compare-etcd {}", arguments.join(" "));
        let line = line.trim_end().to_string();
        let mut options = Options { only: Vec::new(), rounds, seconds, kills, line };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value\n\n{USAGE}"));
            match word.as_str() {
                "--quick" => {}
                "--rows" => options.only = rows(value()?)?,
                "--rounds" => options.rounds = number(word, value()?)? as usize,
                "--seconds" => options.seconds = number(word, value()?)?,
                _ => return Err(format!("there is no {word}\n\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// Whether a row is wanted.
    pub(super) fn wants(&self, row: &Row) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == row.name)
    }
}

fn rows(names: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = names.split(',').map(str::to_string).collect();
    match names.iter().find(|name| ROWS.iter().all(|row| row.name != **name)) {
        Some(name) => {
            let all: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            Err(format!("there is no row {name}; there are: {}", all.join(", ")))
        }
        None => Ok(names),
    }
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=3_600).contains(number));
    number.ok_or(format!("{flag}: {text} is no number from 1 to 3600"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Options::parse(&words)
    }

    #[test]
    fn flags_stand_in_any_order() {
        let options = parse("--seconds 5 --quick --rows put-1,idle").unwrap();
        assert_eq!((options.rounds, options.seconds, options.kills), (1, 5, 2));
        let wanted: Vec<_> = ROWS.iter().filter(|row| options.wants(row)).collect();
        assert_eq!(wanted.len(), 2);
        assert!(ROWS.iter().all(|row| parse("").unwrap().wants(row)));
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        assert!(parse("--rows put-2").unwrap_err().contains("put-256"));
        assert!(parse("--fast").unwrap_err().contains("--quick"));
        assert!(parse("--rounds").unwrap_err().contains("wants a value"));
        assert!(parse("--rounds 0").unwrap_err().contains("from 1"));
    }
}
