//! Passwords that are typed: real terminals.

use crate::process::muslin;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};

/// A command that asks for a password, on a terminal of its own.
struct Asking {
    child: Child,
    terminal: OpenptyResult,
}

impl Asking {
    /// One that has asked.
    fn begin() -> Asking {
        let terminal = openpty(None, None).unwrap();
        let stdin = terminal.slave.try_clone().unwrap();
        let mut child = muslin(&["user", "add", "ann", "--addr", "127.0.0.1:1"])
            .env_remove("MUSLIN_PASSWORD")
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut asked = [0; "password for ann: ".len()];
        child.stderr.as_mut().unwrap().read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"password for ann: ");
        Asking { child, terminal }
    }

    fn shows(&self) -> bool {
        let terminal = tcgetattr(&self.terminal.slave).unwrap();
        terminal.local_flags.contains(LocalFlags::ECHO)
    }

    /// All that the terminal has shown.
    fn shown(self) -> String {
        let OpenptyResult { master, slave } = self.terminal;
        // A mark behind which nothing is shown.
        File::from(slave).write_all(b"<end>").unwrap();
        let (mut master, mut shown) = (File::from(master), String::new());
        while !shown.ends_with("<end>") {
            let mut bytes = [0; 64];
            let read = master.read(&mut bytes).unwrap();
            shown += &String::from_utf8_lossy(&bytes[..read]);
        }
        shown
    }
}

#[test]
fn a_password_that_is_typed_is_not_shown_and_what_is_typed_after_it_is() {
    let mut asking = Asking::begin();
    assert!(!asking.shows());
    let mut keyboard = File::from(asking.terminal.master.try_clone().unwrap());
    keyboard.write_all(b"secret\n").unwrap();
    // Nobody listens there.
    assert_eq!(asking.child.wait().unwrap().code(), Some(5));
    assert!(asking.shows());
    assert_eq!(asking.shown(), "\r\n<end>");
}

#[test]
fn a_terminal_shows_what_is_typed_again_when_the_command_is_ended() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut asking = Asking::begin();
        assert!(!asking.shows());
        kill(Pid::from_raw(asking.child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(asking.child.wait().unwrap().code(), Some(130), "{signal}");
        assert!(asking.shows(), "{signal}");
    }
}
