//! `muslin lock`, `muslin elect`, `muslin lease ..`

use super::numbers::process;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::time::Duration;

/// How long a lock or an office outlives the one who holds it, unless said otherwise: a node may
/// restart in that time, and nobody waits much longer for one that has died.
const TTL_DEFAULT: &str = "15s";

#[derive(Args, Debug)]
#[command(after_help = examples::LOCK)]
pub(crate) struct Lock {
    /// What the lock is called
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) hold: Hold,
    /// Become the command, and die with the process of this id
    #[arg(long, hide = true, value_name = "PID", value_parser = process())]
    pub(crate) exec_with_parent: Option<u32>,
    /// What to run while it is held, with MUSLIN_LOCK, MUSLIN_FENCE and MUSLIN_LEASE in its
    /// environment; its exit code is passed on
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
#[command(after_help = examples::ELECT)]
pub(crate) struct Elect {
    /// What the election is called
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) hold: Hold,
    /// What is proclaimed while it leads [default: this host's name and the process's id]
    #[arg(long)]
    pub(crate) value: Option<String>,
    /// End when the lead is lost, with exit code 4 [default: stand again]
    #[arg(long)]
    pub(crate) once: bool,
    /// What to run while it leads, with MUSLIN_ELECTION, MUSLIN_FENCE and MUSLIN_LEASE in its
    /// environment; its exit code is passed on. Without one, it prints a line each time it
    /// leads, until interrupted
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// How something is held.
#[derive(Args, Debug, Clone)]
pub(crate) struct Hold {
    /// How long it stays held when this process or its node is gone: 2s or more. The command is
    /// asked to end (SIGTERM) when two thirds of it have passed without a word from the cluster,
    /// and killed at the end of it, before anybody else has it
    #[arg(long, value_name = "TIME", default_value = TTL_DEFAULT, value_parser = ttl)]
    pub(crate) ttl: Duration,
    /// Wait so long for it, 0s: do not [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Lease {
    /// Make a lease; its id is printed
    #[command(after_help = examples::LEASE_GRANT)]
    Grant {
        /// How long it lives unless it is kept alive, with a unit: 30s, 5m; 1s or more
        #[arg(value_parser = time)]
        ttl: Duration,
        /// Its id, up to 16 hexadecimal digits [default: one is drawn]
        #[arg(long)]
        id: Option<String>,
    },
    /// End a lease, with all its keys
    #[command(visible_alias = "rm", after_help = examples::LEASE_REVOKE)]
    Revoke {
        /// Its id
        lease: String,
    },
    /// What a lease has left, and its keys
    #[command(visible_alias = "show", after_help = examples::LEASE_TTL)]
    Ttl {
        /// Its id
        lease: String,
    },
    /// All leases; those that were made with a key are not among them
    #[command(visible_alias = "list", after_help = examples::LEASE_LS)]
    Ls,
    /// Keep a lease alive until interrupted, or until it is gone (exit code 3)
    #[command(after_help = examples::LEASE_KEEP)]
    Keep {
        /// Its id
        lease: String,
        /// Once, and no more
        #[arg(long)]
        once: bool,
    },
}

/// Units of time, and their milliseconds. Those that end others stand before them.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A time with its unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let millis = UNITS.iter().find_map(|(unit, millis)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*millis)
    });
    let millis = millis.ok_or("a time has a unit: 500ms, 10s, 5m, 2h or 7d")?;
    // Clocks count in 64 bits of nanoseconds: a hundred years fit.
    match Duration::from_millis(millis) {
        time if time <= LONGEST => Ok(time),
        _ => Err("at most 36500d".into()),
    }
}

/// Longer is no time but a mistake.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// Shortest time that a command is run on: a third of it is left to kill the command in.
const TTL_MIN: Duration = Duration::from_secs(2);

pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    match time(text)? {
        ttl if ttl >= TTL_MIN => Ok(ttl),
        _ => Err("2s at least: a third of it is left to end the command in".into()),
    }
}

/// What each help text ends with.
pub(super) mod examples {
    pub(crate) const LOCK: &str = "\
Examples:
  muslin lock backup -- ./backup.sh
  muslin lock backup --wait 0s -- ./backup.sh
  muslin lock backup --ttl 60s --wait 10m -- ./backup.sh --full";
    pub(crate) const ELECT: &str = "\
Examples:
  muslin elect web -- ./serve
  muslin elect web --value 10.0.0.5:80 --once -- ./serve
  muslin elect web -o json";
    pub(crate) const LEASE: &str = "\
Examples:
  muslin lease grant 60s
  muslin kv put host/n1 up --lease 00000000000000ff
  muslin lease keep 00000000000000ff";
    pub(crate) const LEASE_GRANT: &str = "\
Examples:
  muslin lease grant 60s
  muslin lease grant 1h --id ff -o json";
    pub(crate) const LEASE_REVOKE: &str = "\
Examples:
  muslin lease revoke ff";
    pub(crate) const LEASE_TTL: &str = "\
Examples:
  muslin lease ttl ff";
    pub(crate) const LEASE_LS: &str = "\
Examples:
  muslin lease ls";
    pub(crate) const LEASE_KEEP: &str = "\
Examples:
  muslin lease keep ff
  muslin lease keep ff --once";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_an_end() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "5", "s", "-1s", "1.5s", "99999999999999d", "36501d", "1 s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(ttl("1999ms").is_err());
    }
}
