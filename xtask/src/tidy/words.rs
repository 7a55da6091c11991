//! Names that say nothing.

use super::finding::Finding;
use super::source::{Source, Tree};

/// Words that fit everything. Banned as a segment of any name we give.
const BANNED: [&str; 13] = [
    "manager", "managers", "helper", "helpers", "util", "utils", "common", "context", "info",
    "service", "services", "misc", "stuff",
];

/// Words that are fine in a longer name but not alone.
const BANNED_ALONE: [&str; 2] = ["data", "object"];

/// What stands before a name we give.
const KEYWORDS: [&str; 7] = ["fn", "struct", "enum", "trait", "mod", "const", "union"];

/// Every name with an empty word in it, and every `get_`.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(word) = empty_word(file_name(&source.path)) {
        let text = format!("the file is named `{word}`: say what is in it");
        findings.push(Finding::new("word", &source.path, 0, "-").saying(text));
    }
    for (line, code) in source.masked.lines().enumerate() {
        for name in names(code) {
            let finding = Finding::new("word", &source.path, line + 1, name);
            if let Some(word) = empty_word(name) {
                findings.push(finding.saying(format!("`{name}`: `{word}` says nothing")));
            } else if name.starts_with("get_") {
                findings.push(finding.saying(format!("`{name}`: leave `get_` out")));
            }
        }
    }
    findings
}

fn file_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.trim_end_matches(".rs")
}

/// The names a line gives.
fn names(code: &str) -> Vec<&str> {
    let words = |c: char| !(c.is_alphanumeric() || c == '_');
    let tokens: Vec<&str> = code.split(words).filter(|t| !t.is_empty()).collect();
    let pairs = tokens.windows(2).filter(|pair| KEYWORDS.contains(&pair[0]));
    pairs.map(|pair| pair[1]).collect()
}

fn empty_word(name: &str) -> Option<String> {
    let alone = name.to_lowercase();
    if BANNED_ALONE.contains(&alone.as_str()) {
        return Some(alone);
    }
    segments(name).into_iter().find(|segment| BANNED.contains(&segment.as_str()))
}

/// `fooBar_baz` is `foo`, `bar`, `baz`.
fn segments(name: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    for c in name.chars() {
        if (c.is_uppercase() || c == '_') && segments.last().is_some_and(|s| !s.is_empty()) {
            // A run of capitals (`INFO_MAX`) is one word.
            let in_capitals = name.chars().all(|c| !c.is_lowercase());
            if !in_capitals || c == '_' {
                segments.push(String::new());
            }
        }
        if let Some(last) = segments.last_mut().filter(|_| c != '_') {
            last.extend(c.to_lowercase());
        }
    }
    segments
}
