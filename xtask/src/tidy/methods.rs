//! Calls that are not made.

use super::finding::Finding;
use super::source::{Source, Tree};

/// What core may not name, and why.
const CORE: [(&str, &str); 11] = [
    ("Instant", "core is given the time"),
    ("SystemTime", "core is given the time"),
    ("HashMap", "its order differs from run to run: BTreeMap"),
    ("HashSet", "its order differs from run to run: BTreeSet"),
    ("thread_rng", "core is given a seed"),
    ("println", "core reports events"),
    ("eprintln", "core reports events"),
    ("print", "core reports events"),
    ("dbg", "core reports events"),
    ("f32", "rounding differs from machine to machine: integers"),
    ("f64", "rounding differs from machine to machine: integers"),
];

/// Every banned name in core and every `unwrap` outside tests.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let is_core = source.path.starts_with("crates/muslin-core/src/");
    let mut findings = Vec::new();
    for (line, code) in source.code_lines() {
        if code.contains(".unwrap()") {
            let finding = Finding::new("method", &source.path, line, "unwrap");
            findings
                .push(finding.saying("`unwrap` outside tests: `expect` says why it cannot fail"));
        }
        let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for word in words.filter(|_| is_core) {
            if let Some((name, why)) = CORE.iter().find(|(name, _)| *name == word) {
                let finding = Finding::new("method", &source.path, line, name);
                findings.push(finding.saying(format!("`{name}` in core: {why}")));
            }
        }
    }
    findings
}
