//! Design pages that describe a file byte by byte carry its hash: who changes the file reads the
//! page.

use super::finding::Finding;
use super::source::Tree;
use std::path::Path;

const OPEN: &str = "<!-- source-hash: ";
const CLOSE: &str = " -->";

/// Every page under `docs/design` whose hash is not that of its file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in tree.files.values().filter(|s| is_page(&s.path)) {
        for (at, line) in page.text.lines().enumerate() {
            let Some((path, written)) = marker(line) else { continue };
            let finding = Finding::new("hash", &page.path, at + 1, path);
            match tree.files.get(path).map(|source| fnv64(source.text.as_bytes())) {
                None => findings.push(finding.saying(format!("there is no file {path}"))),
                Some(hash) if hash == written => {}
                Some(hash) => findings.push(finding.saying(format!(
                    "{path} has changed ({hash}): read the page, correct it, then \
                     `cargo xtask tidy --update-hashes`"
                ))),
            }
        }
    }
    findings
}

/// Writes the present hashes into the pages.
pub(crate) fn update(root: &Path, tree: &Tree) -> std::io::Result<()> {
    for page in tree.files.values().filter(|s| is_page(&s.path)) {
        let rewrite = |line: &str| match marker(line) {
            Some((path, _)) if tree.files.contains_key(path) => {
                let hash = fnv64(tree.files[path].text.as_bytes());
                format!("{OPEN}{path}: {hash}{CLOSE}")
            }
            _ => line.to_string(),
        };
        let mut text: String = page.text.lines().map(|l| rewrite(l) + "\n").collect();
        if !page.text.ends_with('\n') {
            text.pop();
        }
        if text != page.text {
            std::fs::write(root.join(&page.path), text)?;
            println!("updated {}", page.path);
        }
    }
    Ok(())
}

fn is_page(path: &str) -> bool {
    path.starts_with("docs/design/") && path.ends_with(".md")
}

fn marker(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix(OPEN)?.strip_suffix(CLOSE)?.rsplit_once(": ")
}

/// FNV-1a, 64 bits, in hexadecimal: enough to notice a change, and ten lines.
pub(crate) fn fnv64(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}
