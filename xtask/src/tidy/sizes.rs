//! How long things may be.

use super::finding::Finding;
use super::mask;
use super::source::{Source, Tree};

/// Lines of a function, from `fn` to its closing brace: what fits on a screen.
const FUNCTION_MAX: usize = 70;

/// Lines of a file without its tests.
const FILE_MAX: usize = 1_000;

/// Lines of code of a `mod.rs`, which is a page to read before the code.
const MOD_MAX: usize = 60;

/// Characters of a line.
pub(crate) const LINE_MAX: usize = 100;

/// Everything that is longer than it may be.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let mut findings = functions(source);
    findings.extend(file(source));
    findings.extend(mod_file(source));
    findings.extend(lines(source));
    findings
}

fn functions(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, _) in source.masked.match_indices("fn ") {
        let before = source.masked[..at].bytes().next_back();
        let name: String = source.masked[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let is_item =
            before.is_none_or(|b| b.is_ascii_whitespace() || b == b'(') && !name.is_empty();
        let last = mask::item_end(&source.masked, at).saturating_sub(1);
        let length = source.line_at(last) - source.line_at(at) + 1;
        if is_item && length > FUNCTION_MAX {
            let text = format!("`{name}` has {length} lines, {FUNCTION_MAX} are allowed: split it");
            let finding = Finding::new("function", &source.path, source.line_at(at), &name);
            findings.push(finding.measuring(length).saying(text));
        }
    }
    findings
}

fn file(source: &Source) -> Option<Finding> {
    let length = source.is_test.iter().filter(|t| !**t).count();
    let text = format!("{length} lines without tests, {FILE_MAX} are allowed: split it");
    let finding = Finding::new("file", &source.path, 0, "-").measuring(length).saying(text);
    (length > FILE_MAX).then_some(finding)
}

fn mod_file(source: &Source) -> Option<Finding> {
    let length = source.code_lines().filter(|(_, line)| !line.trim().is_empty()).count();
    let text =
        format!("{length} lines of code, {MOD_MAX} are allowed: move them to a file with a name");
    let finding = Finding::new("mod", &source.path, 0, "-").measuring(length).saying(text);
    (source.path.ends_with("/mod.rs") && length > MOD_MAX).then_some(finding)
}

fn lines(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let length = line.chars().count();
        if length > LINE_MAX {
            let text = format!("{length} columns, {LINE_MAX} are allowed");
            let finding = Finding::new("line", &source.path, at + 1, "-").measuring(length);
            findings.push(finding.saying(text));
        }
    }
    findings
}
