//! Links between our own documents.

use super::finding::Finding;
use super::source::Tree;
use std::path::Path;

/// Every relative link of a document to a file or directory that is not there. `exists` is asked
/// with a path from the root.
pub(crate) fn check(tree: &Tree, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.files.values().filter(|s| s.path.ends_with(".md")) {
        let mut is_sample = false;
        for (at, line) in page.text.lines().enumerate() {
            is_sample ^= line.trim_start().starts_with("```");
            for target in targets(line).filter(|_| !is_sample) {
                let path = resolve(&page.path, target);
                if !exists(&path) {
                    let finding = Finding::new("link", &page.path, at + 1, target);
                    findings.push(finding.saying(format!("links to {path}, which is not there")));
                }
            }
        }
    }
    findings
}

/// Whether a path from the root is in the repository.
pub(crate) fn on_disk(root: &Path) -> impl Fn(&str) -> bool {
    move |path| root.join(path).exists()
}

/// What the links of a line point at: no other hosts, no places within the page.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = links.filter(|t| !t.contains("://") && !t.starts_with("mailto:"));
    files.filter_map(|t| t.split(['#', ' ']).next()).filter(|t| !t.is_empty())
}

fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
