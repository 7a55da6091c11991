//! Which module of `muslin-core` may see which.

use super::finding::Finding;
use super::source::{Source, Tree};

/// A module and the modules of core it may name; `*` is all. A longer path allows only what it
/// names.
///
/// `wire` is special: it encodes the messages of the protocols, so it must see their types, which
/// are plain values; the protocols see `wire` only to measure what they send.
const ARROWS: [(&str, &[&str]); 10] = [
    ("base", &[]),
    ("wire", &WIRE),
    ("swim", &["base", "wire"]),
    ("raft", &["base", "wire"]),
    ("state", &["base"]),
    ("plan", &["base", "state"]),
    ("waiting", &["base", "raft", "state"]),
    ("groups", &["base", "raft", "state", "plan", "waiting"]),
    ("node", &["*"]),
    ("lib", &["*"]),
];

const WIRE: [&str; 17] = [
    "base",
    "raft",
    "swim",
    "node::PeerMessage",
    "node::KeepAliveAnswer",
    "node::Report",
    "node::Feed",
    "node::FeedId",
    "node::FeedRefusal",
    "node::Health",
    "node::Piece",
    "node::Taken",
    "node::Told",
    "groups::Message",
    "groups::Claim",
    "groups::Matter",
    "groups::Answer",
];

const CORE: &str = "crates/muslin-core/src/";

/// Every path to a sibling that the table does not allow, and every module the table does not know.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().filter(|s| s.path.starts_with(CORE)).flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let module = source.path[CORE.len()..].split(['/', '.']).next().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        let text =
            format!("module `{module}` has no place in the table of xtask/src/tidy/arrows.rs");
        return vec![Finding::new("arrow", &source.path, 0, module).saying(text)];
    };
    let mut findings = Vec::new();
    for (position, path) in crate_paths(&source.masked) {
        let line = source.line_at(position);
        let root = path.split("::").next().unwrap_or_default();
        let is_module = ARROWS.iter().any(|(name, _)| *name == root);
        let is_allowed = root == module
            || allowed.contains(&"*")
            || allowed.iter().any(|a| path == **a || path.starts_with(&format!("{a}::")));
        if is_module && !is_allowed && !source.is_test[line - 1] {
            let text = format!("`{module}` may not see `{root}` (xtask/src/tidy/arrows.rs)");
            findings.push(Finding::new("arrow", &source.path, line, root).saying(text));
        }
    }
    findings.dedup();
    findings
}

/// Every path that starts at `crate::`, groups written out, with its position.
fn crate_paths(masked: &str) -> Vec<(usize, String)> {
    let starts = masked.match_indices("crate::");
    let is_whole = |at: usize| at == 0 || !is_word(masked.as_bytes()[at - 1]);
    let starts = starts.map(|(at, _)| at).filter(|at| is_whole(*at));
    let mut paths = Vec::new();
    for at in starts {
        let mut expanded = Vec::new();
        expand(&masked[at + "crate::".len()..], "", &mut expanded);
        paths.extend(expanded.into_iter().map(|path| (at, path)));
    }
    paths
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Writes out `a::{b, c::{d, e}}`; returns how much of `text` was read.
fn expand(text: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    let word = text.bytes().take_while(|b| is_word(*b) || *b == b'*').count();
    if let Some(group) = text.strip_prefix('{') {
        let mut at = 1;
        while at <= group.len() {
            let skipped = text[at..].bytes().take_while(|b| b.is_ascii_whitespace() || *b == b',');
            at += skipped.count();
            if text[at..].is_empty() || text[at..].starts_with('}') {
                return at + 1;
            }
            at += expand(&text[at..], prefix, paths).max(1);
        }
        return at;
    }
    let path = format!("{prefix}{}", &text[..word]);
    let rest = &text[word..];
    if let Some(deeper) = rest.strip_prefix("::").filter(|d| !d.starts_with('<')) {
        return word + 2 + expand(deeper, &format!("{path}::"), paths);
    }
    paths.push(path);
    let renamed = rest.trim_start();
    match renamed.strip_prefix("as ") {
        Some(name) => {
            let name = name.bytes().take_while(|b| is_word(*b)).count();
            word + (rest.len() - renamed.len()) + "as ".len() + name
        }
        None => word,
    }
}
