//! The ratchet: what is excused, why, and no longer than needed.
//!
//! A line is `RULE PATH SUBJECT NUMBER reason..`; the number is `-` for rules without one. A line
//! that excuses nothing fails, and so does a number larger than what is measured: the list only
//! shrinks.

use super::finding::Finding;
use std::collections::BTreeMap;

/// Where the list is.
pub(crate) const PATH: &str = "xtask/tidy-exempt.txt";

/// What a line excuses: rule, path, subject.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(String, String, String);

struct Entry {
    line: usize,
    number: Option<usize>,
    is_used: bool,
}

/// What is left of the findings when the list has excused its part, and what is wrong with the
/// list.
pub(crate) fn excuse(list: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let (mut entries, mut left) = read(list);
    for finding in findings {
        let key = Key(finding.rule.to_string(), finding.path.clone(), finding.subject.clone());
        match entries.get_mut(&key) {
            Some(entry) if entry.number == finding.measured => entry.is_used = true,
            Some(entry) if entry.number > finding.measured => {
                entry.is_used = true;
                let measured = finding.measured.map_or("-".into(), |n| n.to_string());
                let text = format!("{} has shrunk: write {measured}", finding.path);
                left.push(Finding::new("exempt", PATH, entry.line, &finding.subject).saying(text));
            }
            Some(entry) => {
                entry.is_used = true;
                left.push(finding);
            }
            None => left.push(finding),
        }
    }
    let unused = entries.into_iter().filter(|(_, entry)| !entry.is_used);
    left.extend(unused.map(|(Key(rule, path, subject), entry)| {
        let text = format!("`{rule} {path} {subject}` excuses nothing: remove the line");
        Finding::new("exempt", PATH, entry.line, &subject).saying(text)
    }));
    left.sort();
    left
}

fn read(list: &str) -> (BTreeMap<Key, Entry>, Vec<Finding>) {
    let mut entries = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, line) in list.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [rule, path, subject, number, _reason, ..] => {
                let key = Key(rule.to_string(), path.to_string(), subject.to_string());
                let entry = Entry { line: at + 1, number: number.parse().ok(), is_used: false };
                entries.insert(key, entry);
            }
            _ => wrong.push(
                Finding::new("exempt", PATH, at + 1, "-")
                    .saying("a line is `RULE PATH SUBJECT NUMBER reason..`"),
            ),
        }
    }
    (entries, wrong)
}
