//! Passwords, from wherever they come.

use crate::failure::{Failure, Kind};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Where a password may stand that is not to be typed.
const PASSWORD: &str = "MUSLIN_PASSWORD";

/// The password of the user that asks: from the environment, or asked for.
pub(crate) fn of(user: &str) -> Result<String, Failure> {
    match std::env::var(PASSWORD) {
        Ok(password) => Ok(password),
        Err(_) => read(&format!("password of {user}")),
    }
}

/// A line of stdin; who types it is told for what.
pub(crate) fn read(what: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut stderr = std::io::stderr();
        // Nothing is lost if nobody can be told.
        let _ = write!(stderr, "{what}: ").and_then(|()| stderr.flush());
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    let password = line.trim_end_matches(['\n', '\r']);
    match read {
        Ok(_) if !password.is_empty() => Ok(password.to_string()),
        _ => Err(Failure::new(Kind::Usage, format!("there is no {what}"))
            .hint("write it on stdin, or into the environment as MUSLIN_PASSWORD")),
    }
}
