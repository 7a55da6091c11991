//! `muslin cluster ..`, `muslin explain ..`

use super::node::{Freshness, Sure};
use clap::{Args, Subcommand};

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
    /// Print the cluster's id
    #[command(after_help = examples::ID)]
    Id,
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
    /// node/NAME, leader or join/NAME
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
    pub(super) const ID: &str = "\
Examples:
  muslin cluster id";
    pub(super) const EXPLAIN: &str = "\
Examples:
  muslin explain node/n3
  muslin explain leader
  muslin explain join/n4 --addr 127.0.0.1:7402";
}
