//! What a rule says.

use std::fmt;

/// One place that breaks one rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Finding {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub(crate) line: usize,
    /// Name of the rule, as in the exempt file.
    pub(crate) rule: &'static str,
    /// What in the file breaks it, without spaces; with rule and path it identifies the finding.
    pub(crate) subject: String,
    /// The measured number, for the rules that have a limit.
    pub(crate) measured: Option<usize>,
    /// What is wrong and what to do.
    pub(crate) text: String,
}

impl Finding {
    /// A finding without a measured number.
    pub(crate) fn new(rule: &'static str, path: &str, line: usize, subject: &str) -> Finding {
        let (path, subject) = (path.to_string(), subject.to_string());
        Finding { path, line, rule, subject, measured: None, text: String::new() }
    }

    /// The same finding with its sentence.
    pub(crate) fn saying(mut self, text: impl Into<String>) -> Finding {
        self.text = text.into();
        self
    }

    /// The same finding with its number.
    pub(crate) fn measuring(mut self, measured: usize) -> Finding {
        self.measured = Some(measured);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.text)
    }
}
