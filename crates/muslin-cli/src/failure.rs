//! Why a command did not do what was asked, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

/// The kinds scripts can tell apart. The numbers are a promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It failed.
    Failed = 1,
    /// It was asked wrongly.
    Usage = 2,
    /// What was named is not there.
    NotFound = 3,
    /// Something else is in the way.
    Conflict = 4,
    /// No connection or no quorum.
    Unreachable = 5,
    /// No answer in time; it may still happen.
    TimedOut = 6,
    /// Not allowed.
    Denied = 7,
    /// The cluster is not healthy.
    Unhealthy = 8,
    /// Ended by the person who started it.
    Interrupted = 130,
}

impl Kind {
    /// What an HTTP status of failure comes to.
    pub(crate) fn of_status(status: u16) -> Kind {
        match status {
            400 | 405 | 413 | 415 => Kind::Usage,
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            409 | 412 => Kind::Conflict,
            408 | 504 => Kind::TimedOut,
            429 | 502 | 503 => Kind::Unreachable,
            _ => Kind::Failed,
        }
    }
}

/// A refusal or fault as the person at the terminal reads it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Failure {
    /// Decides the exit code.
    pub(crate) kind: Kind,
    /// What is wrong; empty when there is nothing to add to what was printed.
    pub(crate) sentence: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The exit code of a command that was run, in place of the kind's.
    pub(crate) passed_on: Option<u8>,
    /// What was held is lost; it may be had again.
    pub(crate) is_loss: bool,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(kind: Kind, sentence: impl Into<String>) -> Failure {
        let sentence = sentence.into();
        Failure { kind, sentence, hint: None, passed_on: None, is_loss: false }
    }

    /// An exit code for which everything has been said.
    pub(crate) fn silent(kind: Kind) -> Failure {
        Failure::new(kind, "")
    }

    /// The exit code of a command that was run, which said for itself what is wrong.
    pub(crate) fn passed_on(code: u8) -> Failure {
        Failure { passed_on: Some(code), ..Failure::silent(Kind::Failed) }
    }

    /// The same failure with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr; the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.sentence.is_empty() {
            eprintln!("error: {self}");
        }
        ExitCode::from(self.passed_on.unwrap_or(self.kind as u8))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        match &self.hint {
            Some(hint) => write!(f, "\n hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A file or terminal that does not work.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Kind::Failed, error.to_string())
    }
}
