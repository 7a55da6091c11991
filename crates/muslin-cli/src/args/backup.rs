//! `muslin backup ..`

use super::numbers::count;
use super::{Consistency, NewNode};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum Backup {
    /// Save keys, leases, users and settings to a file
    #[command(after_help = examples::SAVE)]
    Save {
        /// The file: what has that name stays until the backup is whole
        file: PathBuf,
        /// What the backup promises: `linearizable` has every write acknowledged before, `local`
        /// what the node knows, also without a quorum
        #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
        consistency: Consistency,
    },
    /// Read a file to its end and say what is in it
    #[command(visible_alias = "show", after_help = examples::INSPECT)]
    Inspect {
        /// The file
        file: PathBuf,
    },
    /// Make the first node of a new cluster that begins with what is in a file
    #[command(after_help = examples::RESTORE)]
    Restore(Box<Restore>),
    /// Have the cluster write backups by itself; without options, say whether it does
    #[command(after_help = examples::SCHEDULE)]
    Schedule(Schedule),
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) node: NewNode,
    /// What the cluster is called [default: as the one of the backup]
    #[arg(long)]
    pub(crate) cluster_name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Schedule {
    /// How often, with a unit: `30m`, `6h`, `1d`
    #[arg(long, value_name = "TIME")]
    pub(crate) every: Option<String>,
    /// How many each node keeps of those it wrote
    #[arg(long, value_name = "COUNT", value_parser = count())]
    pub(crate) keep: Option<u32>,
    /// Write none any more
    #[arg(long, conflicts_with = "every")]
    pub(crate) off: bool,
}

/// What each help text ends with.
pub(super) mod examples {
    pub(in crate::args) const BACKUP: &str = "\
Examples:
  muslin backup save monday.backup
  muslin backup inspect monday.backup
  muslin backup schedule --every 6h --keep 28
  muslin backup restore monday.backup --data-dir n1 --name n1 --listen 127.0.0.1:7400";
    pub(super) const SAVE: &str = "\
Examples:
  muslin backup save monday.backup
  muslin backup save what-is-left.backup --consistency local";
    pub(super) const INSPECT: &str = "\
Examples:
  muslin backup inspect monday.backup
  muslin backup inspect monday.backup -o json";
    pub(super) const RESTORE: &str = "\
Examples:
  muslin backup restore monday.backup --data-dir n1 --name n1 --listen 127.0.0.1:7400";
    pub(super) const SCHEDULE: &str = "\
Examples:
  muslin backup schedule
  muslin backup schedule --every 6h --keep 28
  muslin backup schedule --off";
}
