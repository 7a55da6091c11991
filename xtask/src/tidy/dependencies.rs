//! How much of other people's code we take in.

use super::finding::Finding;
use super::source::Tree;
use std::path::Path;

/// Direct dependencies of core: it decides, it needs almost nothing.
const CORE_MAX: usize = 5;

/// Packages in the lock file: each is a supply chain and build time.
const LOCK_MAX: usize = 300;

const CORE: &str = "crates/muslin-core/Cargo.toml";

/// The two counts, and the findings when one is too large.
pub(crate) fn check(tree: &Tree, lock: &str) -> (String, Vec<Finding>) {
    let manifest = tree.files.get(CORE).map_or("", |source| source.text.as_str());
    let counted = [
        ("direct dependencies of muslin-core", CORE, direct(manifest), CORE_MAX),
        ("packages in Cargo.lock", "Cargo.lock", lock.matches("[[package]]").count(), LOCK_MAX),
    ];
    let mut findings = Vec::new();
    let mut lines = String::new();
    for (what, path, count, limit) in counted {
        lines += &format!("{what}: {count} (at most {limit})\n");
        if count > limit {
            let finding = Finding::new("deps", path, 0, "-").measuring(count);
            findings.push(finding.saying(format!("{count} {what}, {limit} are allowed")));
        }
    }
    (lines, findings)
}

/// The lock file of the repository; empty when there is none.
pub(crate) fn lock(root: &Path) -> String {
    std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default()
}

fn direct(manifest: &str) -> usize {
    let after = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    let section = after.take_while(|line| !line.starts_with('['));
    section.filter(|line| line.contains('=') && !line.trim_start().starts_with('#')).count()
}
