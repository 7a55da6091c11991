//! The files of the repository, read once.

use super::mask;
use std::collections::BTreeMap;
use std::path::Path;

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// Endings of the files the rules read.
const READ: [&str; 6] = ["rs", "md", "toml", "proto", "sh", "txt"];

/// One text file.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// The text with comments and literals blanked; for Rust files only.
    pub(crate) masked: String,
    /// For each line, whether it is compiled for tests only.
    pub(crate) is_test: Vec<bool>,
}

/// All files, by path.
pub(crate) struct Tree {
    /// The files.
    pub(crate) files: BTreeMap<String, Source>,
}

impl Source {
    /// A source from its text.
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let masked = if path.ends_with(".rs") { mask::mask(text) } else { String::new() };
        let is_test = match is_test_path(path) {
            true => vec![true; text.lines().count()],
            false => test_lines(&masked, text.lines().count()),
        };
        Source { path: path.to_string(), text: text.to_string(), masked, is_test }
    }

    /// Whether the rules for Rust apply: not generated, and Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.text.lines().take(3).any(|l| l.contains("@generated"))
    }

    /// Numbered lines of code (from 1), literals and comments blanked, tests left out.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.masked.lines().enumerate();
        lines.filter(|(i, _)| !self.is_test[*i]).map(|(i, line)| (i + 1, line))
    }

    /// The line number (from 1) of a position in the text.
    pub(crate) fn line_at(&self, position: usize) -> usize {
        self.masked.as_bytes()[..position].iter().filter(|b| **b == b'\n').count() + 1
    }
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read(root: &Path) -> Tree {
        let mut files = BTreeMap::new();
        read_directory(root, "", &mut files);
        let mut tree = Tree { files };
        tree.mark_test_modules();
        tree
    }

    /// A tree from texts, for tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(p, t)| (p.to_string(), Source::new(p, t))).collect();
        let mut tree = Tree { files };
        tree.mark_test_modules();
        tree
    }

    /// The Rust files that people wrote.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.values().filter(|source| source.is_rust())
    }

    /// A file declared `#[cfg(test)] mod name;` is a test wherever it lies.
    fn mark_test_modules(&mut self) {
        let mut tests = Vec::new();
        for source in self.files.values() {
            let lines: Vec<&str> = source.masked.lines().collect();
            for (_, line) in lines.iter().enumerate().filter(|(at, _)| source.is_test[*at]) {
                let name = line.trim().trim_start_matches("pub(crate) ").strip_prefix("mod ");
                if let Some(name) = name.and_then(|n| n.trim().strip_suffix(';')) {
                    tests.push(format!("{}/{name}", module_directory(&source.path)));
                }
            }
        }
        for source in self.files.values_mut() {
            let is_under = |t: &String| {
                source.path == format!("{t}.rs") || source.path.starts_with(&format!("{t}/"))
            };
            if tests.iter().any(is_under) {
                source.is_test.fill(true);
            }
        }
    }
}

/// Where the child modules of a file lie.
fn module_directory(path: &str) -> &str {
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => directory,
        _ => path.trim_end_matches(".rs"),
    }
}

fn read_directory(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Source>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let is_directory = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_directory && !SKIPPED.contains(&name.as_str()) {
            read_directory(&entry.path(), &path, files);
        } else if READ.iter().any(|ending| name.ends_with(&format!(".{ending}")))
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            files.insert(path.clone(), Source::new(&path, &text));
        }
    }
}

fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "benches" || part == "tests.rs")
}

/// Lines inside items marked `#[cfg(test)]` (or `#[cfg(all(test, ..))]`).
fn test_lines(masked: &str, lines: usize) -> Vec<bool> {
    let mut is_test = vec![false; lines];
    let mut from = 0;
    while let Some(found) = masked[from..].find("#[cfg(") {
        let start = from + found;
        let close = masked[start..].find(']').map_or(masked.len(), |n| start + n + 1);
        let condition = &masked[start..close];
        from = close;
        if !condition.contains("test") || condition.contains("not(test") {
            continue;
        }
        from = mask::item_end(masked, close);
        let line_of = |at: usize| masked.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
        let (first, last) = (line_of(start), line_of(from.saturating_sub(1)));
        for line in is_test.iter_mut().take(last + 1).skip(first) {
            *line = true;
        }
    }
    is_test
}
