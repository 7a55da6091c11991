//! Passwords, from wherever they come.

use crate::failure::{Failure, Kind};
use crate::signals;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Where a password may stand that is not to be typed.
const PASSWORD: &str = "MUSLIN_PASSWORD";

/// The password of the user that asks: from the environment, or asked for.
pub(crate) async fn of(user: &str) -> Result<String, Failure> {
    match std::env::var(PASSWORD) {
        Ok(password) => Ok(password),
        Err(_) => read(&format!("password of {user}")).await,
    }
}

/// A line of stdin; who types it is told for what, and does not see it.
pub(crate) async fn read(what: &str) -> Result<String, Failure> {
    let stop = signals::stop()?;
    let unseen = Unseen::begin();
    if unseen.is_some() {
        // Nothing is lost if nobody can be told.
        let mut stderr = io::stderr();
        let _ = write!(stderr, "{what}: ").and_then(|()| stderr.flush());
    }
    // The terminal is read by a thread of its own, so that a signal is heard meanwhile.
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = tokio::select! {
        line = line => line.unwrap_or_else(|error| Err(io::Error::other(error))),
        () = stop => return Err(Failure::silent(Kind::Interrupted)),
    };
    let line = line.unwrap_or_default();
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("there is no {what}"))
            .hint("write it on stdin, or into the environment as MUSLIN_PASSWORD"));
    }
    Ok(password.to_string())
}

/// The terminal does not show what is typed, until this is dropped: also when the person gives up.
struct Unseen {
    before: Termios,
}

impl Unseen {
    /// `None` when stdin is no terminal.
    fn begin() -> Option<Unseen> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut unseen = before.clone();
        unseen.local_flags.remove(LocalFlags::ECHO);
        // The line end is shown: what comes next stands on a line of its own.
        unseen.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(&stdin, SetArg::TCSAFLUSH, &unseen).ok()?;
        Some(Unseen { before })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing any more.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
