//! The rules a program can check, so that people need not.
//!
//! Every rule is a pure function from a [`source::Source`] (or the whole [`source::Tree`]) to
//! findings. A finding may be excused by a line in `xtask/tidy-exempt.txt`, which works as a
//! ratchet: a line that is no longer needed, or is larger than needed, is itself a finding.
//!
//! | rule | what it refuses |
//! | --- | --- |
//! | `arrow` | a module of `muslin-core` that sees one it may not see ([`arrows`]) |
//! | `function`, `file`, `mod`, `line` | what is too long ([`sizes`]) |
//! | `word` | a name that says nothing ([`words`]) |
//! | `method` | clocks, hash order, floats, printing in core; `unwrap` anywhere ([`methods`]) |
//! | `unfinished` | markers of work left to do ([`unfinished`]) |
//! | `hash` | a design page that describes another version of its source file ([`hashes`]) |
//! | `deps` | too many dependencies ([`dependencies`]) |
//! | `link` | a link to a file that is not there ([`links`]) |
//! | `exempt` | the ratchet itself ([`exempt`]) |
//!
//! With `--wrap` comments that are too long are broken anew ([`wrap`]), in the files named or in
//! all.
//!
//! # Not here
//! What rustc and clippy check: documentation of public items, parameters, unused code.

mod arrows;
mod check;
mod dependencies;
mod exempt;
mod finding;
mod hashes;
mod links;
mod mask;
mod methods;
mod sizes;
mod source;
mod unfinished;
mod words;
mod wrap;

#[cfg(test)]
mod tests;

pub(crate) use check::run;
