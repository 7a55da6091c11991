//! The process `muslin`: the daemon, and the commands that talk to one.
//!
//! Nothing is decided here. [`args`] says what may be asked, [`run`] carries it out and turns the
//! outcome into an exit code, [`cmd`] holds one file per command, [`client`] speaks HTTP with a
//! node, [`output`] prints. Data goes to stdout and everything else to stderr.

mod args;
mod client;
mod cmd;
mod failure;
mod output;
mod password;
mod run;
mod signals;

fn main() -> std::process::ExitCode {
    run::run()
}
