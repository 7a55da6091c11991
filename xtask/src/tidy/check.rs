//! All rules over the whole repository.

use super::finding::Finding;
use super::source::Tree;
use super::{arrows, dependencies, exempt, hashes, links, methods, sizes, unfinished, words, wrap};
use std::path::Path;

/// Checks the repository at `root` and prints what is wrong. With `--update-hashes` it first writes
/// the present hashes into the design pages, with `--wrap` it first wraps comments; with paths it
/// tells only about files below them.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    if arguments.iter().any(|a| a == "--update-hashes") {
        hashes::update(root, &Tree::read(root)).map_err(|e| format!("cannot write a page: {e}"))?;
    }
    let paths: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let is_meant = |path: &str| paths.is_empty() || paths.iter().any(|p| path.starts_with(*p));
    if arguments.iter().any(|a| a == "--wrap") {
        wrap_comments(root, is_meant).map_err(|e| format!("cannot write a file: {e}"))?;
    }
    let (counts, mut findings) = check(root);
    findings.retain(|finding| is_meant(&finding.path));
    print!("{counts}");
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: nothing to say");
            Ok(())
        }
        n => Err(format!("tidy: {n} findings")),
    }
}

fn wrap_comments(root: &Path, is_meant: impl Fn(&str) -> bool) -> std::io::Result<()> {
    for source in Tree::read(root).rust().filter(|source| is_meant(&source.path)) {
        let text = wrap::wrap(&source.text);
        if text != source.text {
            std::fs::write(root.join(&source.path), text)?;
            println!("wrapped {}", source.path);
        }
    }
    Ok(())
}

/// The printed counts and what is wrong.
pub(crate) fn check(root: &Path) -> (String, Vec<Finding>) {
    let tree = Tree::read(root);
    let (counts, mut findings) = dependencies::check(&tree, &dependencies::lock(root));
    for rule in [arrows::check, sizes::check, words::check, methods::check, unfinished::check] {
        findings.extend(rule(&tree));
    }
    findings.extend(hashes::check(&tree));
    findings.extend(links::check(&tree, links::on_disk(root)));
    let list = tree.files.get(exempt::PATH).map_or("", |source| source.text.as_str());
    (counts, exempt::excuse(list, findings))
}
