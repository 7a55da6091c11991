//! `muslin op ..`

use super::coordination::time;
use clap::Subcommand;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(crate) enum Op {
    /// What is under way, and what ended lately, as the node asked knows
    #[command(visible_alias = "list", after_help = examples::LS)]
    Ls {
        /// Go on with each change, until interrupted
        #[arg(short, long)]
        watch: bool,
        /// With --watch: go on behind this index of an earlier line
        #[arg(long, value_name = "INDEX", requires = "watch")]
        from: Option<String>,
    },
    /// One operation
    #[command(visible_alias = "info", after_help = examples::SHOW)]
    Show {
        /// Its id
        op: String,
    },
    /// Wait until it has ended: exit code 0 when it is done, 4 when it was taken back, 1 when it
    /// failed, 6 when the time is up and it goes on
    #[command(after_help = examples::WAIT)]
    Wait {
        /// Its id
        op: String,
        /// Not longer than this
        #[arg(long, value_name = "TIME", value_parser = time)]
        within: Option<Duration>,
    },
    /// Take a drain, or a wish for votes, back
    #[command(after_help = examples::CANCEL)]
    Cancel {
        /// Its id
        op: String,
    },
}

pub(super) mod examples {
    pub(in crate::args) const OP: &str = "\
Examples:
  muslin op ls
  muslin op wait gossip-key-2 --within 5m";
    pub(super) const LS: &str = "\
Examples:
  muslin op ls
  muslin op ls --watch -o json";
    pub(super) const SHOW: &str = "\
Examples:
  muslin op show gossip-key-2";
    pub(super) const WAIT: &str = "\
Examples:
  muslin op wait drain-0000000000000002
  muslin op wait gossip-key-2 --within 5m";
    pub(super) const CANCEL: &str = "\
Examples:
  muslin op cancel drain-0000000000000002";
}
