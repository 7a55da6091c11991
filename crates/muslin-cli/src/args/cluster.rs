//! `muslin cluster ..`, `muslin explain ..`

use super::node::{Freshness, Sure};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum Cluster {
    /// What the cluster is: voters, epoch, settings
    #[command(visible_alias = "show", after_help = examples::SHOW)]
    Info {
        #[command(flatten)]
        freshness: Freshness,
    },
    /// What was looked at, and whether it is as it should be; the exit code says it too (0 healthy,
    /// 8 not)
    #[command(after_help = examples::HEALTH)]
    Health,
    /// Who votes, who answers, and how many may be lost
    #[command(after_help = examples::QUORUM)]
    Quorum,
    /// Have another voter lead
    #[command(after_help = examples::TRANSFER)]
    TransferLeader {
        /// Its name, or its id [default: the next voter that answers]
        to: Option<String>,
    },
    /// The number of the membership history
    #[command(subcommand, after_help = examples::EPOCH)]
    Epoch(Epoch),
    /// What operators may set of the cluster
    #[command(subcommand, after_help = examples::SETTINGS)]
    Settings(Settings),
    /// Go on from one survivor when most voters are lost for good; with all nodes stopped
    #[command(after_help = examples::RECOVER)]
    Recover(Recover),
    /// Print the cluster's id
    #[command(after_help = examples::ID)]
    Id,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Settings {
    /// Print them, with what each is for
    #[command(after_help = examples::SETTINGS_SHOW)]
    Show {
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Change some; the others stay
    #[command(after_help = examples::SETTINGS_SET)]
    Set {
        /// As `settings show` prints them; times with a unit (`90s`, `12h`), `default` for the
        /// default
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Recover {
    /// Directory of a survivor, stopped; given more than once, the one that has most is taken
    #[arg(long, visible_alias = "data", value_name = "DIR", required = true)]
    pub(crate) data_dir: Vec<PathBuf>,
    /// Say what there is and what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take a survivor although its disk lost data: what it lacks is lost for all
    #[arg(long)]
    pub(crate) accept_damage: bool,
    /// Go on although, by what is known, a quorum is left
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) sure: Sure,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Epoch {
    /// Print it
    #[command(after_help = examples::EPOCH_SHOW)]
    Show,
    /// Begin another: whoever is gone has to join anew, and what is left of removed nodes goes
    #[command(after_help = examples::EPOCH_BUMP)]
    Bump {
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Args, Debug)]
#[command(after_help = examples::EXPLAIN)]
pub(crate) struct Explain {
    /// node/NAME, leader, voters or join/NAME
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) freshness: Freshness,
}

/// What each help text ends with.
pub(super) mod examples {
    pub(in crate::args) const CLUSTER: &str = "\
Examples:
  muslin cluster info
  muslin cluster quorum
  muslin cluster settings show
  muslin cluster transfer-leader n2";
    pub(super) const SHOW: &str = "\
Examples:
  muslin cluster info
  muslin cluster info --consistency linearizable -o json";
    pub(super) const HEALTH: &str = "\
Examples:
  muslin cluster health
  muslin cluster health -o json";
    pub(super) const QUORUM: &str = "\
Examples:
  muslin cluster quorum";
    pub(super) const TRANSFER: &str = "\
Examples:
  muslin cluster transfer-leader
  muslin cluster transfer-leader n2";
    pub(super) const EPOCH: &str = "\
Examples:
  muslin cluster epoch show
  muslin cluster epoch bump";
    pub(super) const EPOCH_SHOW: &str = "\
Examples:
  muslin cluster epoch show";
    pub(super) const EPOCH_BUMP: &str = "\
Examples:
  muslin cluster epoch bump
  muslin cluster epoch bump --yes";
    pub(super) const SETTINGS: &str = "\
Examples:
  muslin cluster settings show
  muslin cluster settings set min_members=2 voter_grace=90s";
    pub(super) const SETTINGS_SHOW: &str = "\
Examples:
  muslin cluster settings show
  muslin cluster settings show -o json";
    pub(super) const SETTINGS_SET: &str = "\
Examples:
  muslin cluster settings set voters_target=5
  muslin cluster settings set reap_after=12h tokens_only=true
  muslin cluster settings set min_members=default";
    pub(super) const RECOVER: &str = "\
Examples:
  muslin cluster recover --data-dir /var/lib/muslin --dry-run
  muslin cluster recover --data-dir /var/lib/muslin
  muslin cluster recover --data-dir n1 --data-dir n3 --yes -o json";
    pub(super) const ID: &str = "\
Examples:
  muslin cluster id";
    pub(super) const EXPLAIN: &str = "\
Examples:
  muslin explain node/n3
  muslin explain leader
  muslin explain voters
  muslin explain join/n4 --addr 127.0.0.1:7402";
}
