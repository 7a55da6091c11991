//! `muslin kv ..`

use super::Consistency;
use super::coordination::time;
use super::numbers::whole;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(crate) enum Kv {
    /// Print a value as it is (with a line end on a terminal)
    #[command(after_help = examples::KV_GET)]
    Get {
        /// Which key
        key: String,
        /// What the read promises
        #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
        consistency: Consistency,
    },
    /// Write a value
    #[command(after_help = examples::KV_PUT)]
    Put(KvPut),
    /// Delete a key
    #[command(visible_alias = "delete", alias = "rm", after_help = examples::KV_DEL)]
    Del {
        /// Which key
        key: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// List keys
    #[command(visible_alias = "list", after_help = examples::KV_LS)]
    Ls {
        /// Only keys that begin so
        #[arg(long, default_value = "")]
        prefix: String,
        /// At most so many
        #[arg(long, value_parser = whole())]
        limit: Option<u64>,
        /// What the read promises
        #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
        consistency: Consistency,
        /// Those too that maps, queues and the like are made of: they begin with a zero byte
        #[arg(long)]
        all: bool,
    },
    /// Print keys as they are, then every change, until interrupted
    #[command(after_help = examples::KV_WATCH)]
    Watch {
        /// Only keys that begin so
        #[arg(long, default_value = "")]
        prefix: String,
        /// Changes from this revision on, and no keys as they are
        #[arg(long, value_name = "REVISION", value_parser = whole())]
        from: Option<u64>,
        /// End after so many changes; keys as they are do not count
        #[arg(long, value_parser = whole())]
        count: Option<u64>,
        /// Those too that maps, queues and the like are made of
        #[arg(long)]
        all: bool,
    },
    /// What became of a key, the last change first
    #[command(after_help = examples::KV_HISTORY)]
    History {
        /// Which key
        key: String,
        /// At most so many changes
        #[arg(long, default_value_t = 100, value_parser = whole())]
        limit: u64,
    },
    /// Write a value if the key has this one: otherwise exit code 4, and nothing is written. A key
    /// that hangs on a lease stays on it
    #[command(after_help = examples::KV_CAS)]
    Cas {
        /// Which key
        key: String,
        /// The value it has
        #[arg(allow_negative_numbers = true)]
        old: String,
        /// The value it gets; `-` reads it from stdin
        #[arg(allow_negative_numbers = true)]
        new: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Change a value in an editor ($VISUAL, $EDITOR or vi), and write it if nobody else has
    /// meanwhile: otherwise exit code 4, and the text is kept. A key that hangs on a lease stays on
    /// it; a key that is not there is made
    #[command(after_help = examples::KV_EDIT)]
    Edit {
        /// Which key
        key: String,
    },
    /// Compare, then act, all in one revision: a transaction in JSON, as `POST /v1/txn` takes it
    #[command(after_help = examples::KV_TXN)]
    Txn {
        /// Where it stands; `-`, or nothing, reads it from stdin
        file: Option<PathBuf>,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Print keys and values as lines that `import` takes: all of one revision. Keys that hang on a
    /// lease belong to somebody who lives: they are left out, and counted on stderr
    #[command(after_help = examples::KV_EXPORT)]
    Export {
        /// Only keys that begin so
        #[arg(long, default_value = "")]
        prefix: String,
        /// Keys that hang on a lease too; imported, they stay
        #[arg(long)]
        leased: bool,
        /// Those too that maps, queues and the like are made of
        #[arg(long)]
        all: bool,
    },
    /// Write keys and values that `export` printed. All of it is looked through before anything is
    /// written; then it is written in pieces of up to 100 keys
    #[command(after_help = examples::KV_IMPORT)]
    Import {
        /// Where they stand; `-`, or nothing, reads stdin
        file: Option<PathBuf>,
        /// Leave keys alone that are there
        #[arg(long)]
        if_absent: bool,
        /// Look through it, and write nothing
        #[arg(long)]
        check: bool,
    },
    /// Drop history: what keys were before a revision can be read no more
    #[command(after_help = examples::KV_COMPACT)]
    Compact {
        /// Reads as of it and of later ones go on
        #[arg(value_parser = whole())]
        revision: u64,
        /// Wait until the node asked has dropped all of it
        #[arg(long)]
        physical: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct KvPut {
    /// Which key
    pub(crate) key: String,
    /// The value; `-`, or nothing, reads it from stdin
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: Option<String>,
    /// Only if the key is not there
    #[arg(long, conflicts_with = "if_revision")]
    pub(crate) if_absent: bool,
    /// Only if the key was last changed at this revision
    #[arg(long, value_name = "REVISION", value_parser = whole())]
    pub(crate) if_revision: Option<u64>,
    /// The key goes by itself after this time (1s or more), unless it is written again
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "lease")]
    pub(crate) ttl: Option<Duration>,
    /// The key goes with this lease
    #[arg(long)]
    pub(crate) lease: Option<String>,
    #[command(flatten)]
    pub(crate) fenced: Fenced,
}

/// A write that relies on a lock.
#[derive(Args, Debug, Clone)]
pub(crate) struct Fenced {
    /// Only while that holder of the lock or the election NAME has it: `lock` and `elect` put the
    /// number into MUSLIN_FENCE
    #[arg(long, value_name = "NAME:NUMBER")]
    pub(crate) fence: Option<String>,
}

/// What each help text ends with.
mod examples {
    pub(super) const KV_GET: &str = "\
Examples:
  muslin kv get greeting
  muslin kv get greeting -o json
  muslin kv get greeting --consistency local";
    pub(super) const KV_PUT: &str = "\
Examples:
  muslin kv put greeting hello
  muslin kv put picture - < picture.png
  muslin kv put leader n1 --if-absent
  muslin kv put greeting hi --if-revision 7
  muslin kv put host/n1 up --ttl 30s
  muslin kv put last ok --fence backup:17";
    pub(super) const KV_DEL: &str = "\
Examples:
  muslin kv del greeting";
    pub(super) const KV_LS: &str = "\
Examples:
  muslin kv ls
  muslin kv ls --prefix app/ --limit 20 -o json";
    pub(super) const KV_WATCH: &str = "\
Examples:
  muslin kv watch
  muslin kv watch --prefix app/ -o json
  muslin kv watch --prefix app/ --from 17 --count 1";
    pub(super) const KV_HISTORY: &str = "\
Examples:
  muslin kv history greeting
  muslin kv history greeting --limit 3 -o json";
    pub(super) const KV_CAS: &str = "\
Examples:
  muslin kv cas stock 5 4
  muslin kv cas config old - < config.json";
    pub(super) const KV_EDIT: &str = "\
Examples:
  muslin kv edit app/config";
    pub(super) const KV_TXN: &str = "\
Examples:
  muslin kv txn order.json
  muslin kv txn - -o json < order.json";
    pub(super) const KV_EXPORT: &str = "\
Examples:
  muslin kv export > all.jsonl
  muslin kv export --prefix app/ > app.jsonl";
    pub(super) const KV_IMPORT: &str = "\
Examples:
  muslin kv import all.jsonl
  muslin kv import --check < all.jsonl
  muslin kv import all.jsonl --if-absent";
    pub(super) const KV_COMPACT: &str = "\
Examples:
  muslin kv compact 1200
  muslin kv compact 1200 --physical";
}
