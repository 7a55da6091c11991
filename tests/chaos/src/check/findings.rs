//! What the checkers found.

use std::collections::BTreeMap;
use std::fmt;

/// Sentences kept of one kind: the first say all there is to know.
const SENTENCES_MAX: usize = 10;

/// What must not be, by kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    kinds: BTreeMap<&'static str, Kind>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Kind {
    count: usize,
    sentences: Vec<String>,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, kind: &'static str, sentence: String) {
        let kind = self.kinds.entry(kind).or_default();
        kind.count += 1;
        if kind.sentences.len() < SENTENCES_MAX {
            kind.sentences.push(sentence);
        }
    }

    /// How many in all.
    pub fn count(&self) -> usize {
        self.kinds.values().map(|kind| kind.count).sum()
    }

    /// Which kinds there are.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.kinds.keys().copied().collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind) in &self.kinds {
            writeln!(f, "{name}: {}", kind.count)?;
            for sentence in &kind.sentences {
                writeln!(f, "  {sentence}")?;
            }
        }
        Ok(())
    }
}
