//! Work left to do is written down where work is planned, not in the text.

use super::finding::Finding;
use super::source::Tree;

/// The markers, put together here so that this file has none.
const MARKERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("unimple", "mented!"),
    concat!("to", "do!"),
    concat!("PLACE", "HOLDER-DOC"),
];

/// Every marker in any file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.files.values() {
        for (at, line) in source.text.lines().enumerate() {
            for marker in MARKERS.iter().filter(|marker| line.contains(**marker)) {
                let finding = Finding::new("unfinished", &source.path, at + 1, marker);
                findings.push(finding.saying(format!("`{marker}`: do it, or plan it elsewhere")));
            }
        }
    }
    findings
}
