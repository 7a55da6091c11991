//! `muslin node ..`

use super::Consistency;
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub(crate) enum Node {
    /// All nodes
    #[command(visible_alias = "list", after_help = examples::LS)]
    Ls {
        #[command(flatten)]
        freshness: Freshness,
        /// Go on with each change, until interrupted
        #[arg(short, long)]
        watch: bool,
        /// With --watch: go on behind this `index`
        #[arg(long, value_name = "INDEX", requires = "watch")]
        from: Option<String>,
    },
    /// One node, and how it came to be what it is
    #[command(alias = "info", alias = "describe", after_help = examples::SHOW)]
    Show {
        /// Its name, or the beginning of its id
        node: String,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// What happened to a node lately
    #[command(after_help = examples::EVENTS)]
    Events {
        /// Its name, or its id
        node: String,
        /// Go on as it happens, until interrupted
        #[arg(short, long)]
        watch: bool,
    },
    /// Have everything moved off a node, before it is stopped or taken out
    #[command(after_help = examples::DRAIN)]
    Drain {
        /// Its name, or its id
        node: String,
    },
    /// Let a drained node take part again
    #[command(after_help = examples::RESUME)]
    Resume {
        /// Its name, or its id
        node: String,
    },
    /// Take a node out for good: its id never comes back
    #[command(visible_alias = "delete", alias = "remove", after_help = examples::RM)]
    Rm {
        /// Its name, or its id
        node: String,
        /// Although it takes part and was not drained
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Nodes that ask to join and wait
    #[command(alias = "joins", after_help = examples::HELD)]
    Held,
    /// Let a node in that waits; compare the code with the one at the other end first
    #[command(after_help = examples::APPROVE)]
    Approve {
        /// Its name, or its id
        node: String,
        /// The code that its person reads out; anything else is not approved
        #[arg(long)]
        code: Option<String>,
        /// Although nobody performs the roles that it requires
        #[arg(long)]
        force: bool,
    },
    /// Refuse a join that waits
    #[command(after_help = examples::DENY)]
    Deny {
        /// Its name, or its id
        node: String,
    },
    /// Roles of a node
    #[command(subcommand, after_help = examples::ROLE)]
    Role(Role),
    /// Label a node: KEY=VALUE sets, KEY- takes away
    #[command(after_help = examples::LABEL)]
    Label {
        /// Its name, or its id
        node: String,
        /// What to set and to take away
        #[arg(value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// What it shares its fate with: a rack, a room, a provider's zone
        #[arg(long)]
        zone: Option<String>,
    },
    /// Have a node vote in the control group
    #[command(after_help = examples::PROMOTE)]
    Promote {
        /// Its name, or its id
        node: String,
        /// Leave it to the cluster again
        #[arg(long)]
        undo: bool,
    },
    /// Have a node not vote in the control group
    #[command(after_help = examples::DEMOTE)]
    Demote {
        /// Its name, or its id
        node: String,
        /// Leave it to the cluster again
        #[arg(long)]
        undo: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Role {
    /// Give a node roles
    #[command(after_help = examples::ROLE_ADD)]
    Add {
        /// Its name, or its id
        node: String,
        /// Which
        #[arg(required = true)]
        roles: Vec<String>,
    },
    /// Take roles from a node
    #[command(visible_alias = "delete", alias = "remove", after_help = examples::ROLE_RM)]
    Rm {
        /// Its name, or its id
        node: String,
        /// Which
        #[arg(required = true)]
        roles: Vec<String>,
    },
}

/// How fresh a view is to be.
#[derive(Args, Debug, Clone)]
pub(crate) struct Freshness {
    /// What the view promises of the record; who is alive is always as the asked node sees it
    #[arg(long, value_enum, default_value_t = Consistency::Local)]
    pub(crate) consistency: Consistency,
    /// Refuse what is older than this, as 500ms, 2s or 1m
    #[arg(long, value_name = "TIME")]
    pub(crate) max_staleness: Option<String>,
}

/// Something that cannot be undone.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Sure {
    /// Do not ask; needed where nobody can be asked
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// What each help text ends with.
pub(super) mod examples {
    pub(in crate::args) const NODE: &str = "\
Examples:
  muslin node ls
  muslin node show n2
  muslin node drain n2";
    pub(super) const LS: &str = "\
Examples:
  muslin node ls
  muslin node ls --consistency linearizable -o json
  muslin node ls --watch";
    pub(super) const SHOW: &str = "\
Examples:
  muslin node show n2
  muslin node show n2 --addr 127.0.0.1:7403";
    pub(super) const EVENTS: &str = "\
Examples:
  muslin node events n2
  muslin node events n2 --watch";
    pub(super) const DRAIN: &str = "\
Examples:
  muslin node drain n2";
    pub(super) const RESUME: &str = "\
Examples:
  muslin node resume n2";
    pub(super) const RM: &str = "\
Examples:
  muslin node rm n2
  muslin node rm n2 --force --yes";
    pub(super) const HELD: &str = "\
Examples:
  muslin node held
  muslin node held -o json";
    pub(super) const APPROVE: &str = "\
Examples:
  muslin node approve n4
  muslin node approve n4 --code 7K2M-90QT-ZXA1-44BC-R8WE
  muslin node approve n4 --force";
    pub(super) const DENY: &str = "\
Examples:
  muslin node deny n4";
    pub(super) const ROLE: &str = "\
Examples:
  muslin node role add n2 dns
  muslin node role rm n2 dns";
    pub(super) const ROLE_ADD: &str = "\
Examples:
  muslin node role add n2 dns worker";
    pub(super) const ROLE_RM: &str = "\
Examples:
  muslin node role rm n2 dns";
    pub(super) const LABEL: &str = "\
Examples:
  muslin node label n2 rack=7 owner=ops
  muslin node label n2 owner- --zone north";
    pub(super) const PROMOTE: &str = "\
Examples:
  muslin node promote n4
  muslin node promote n4 --undo";
    pub(super) const DEMOTE: &str = "\
Examples:
  muslin node demote n1
  muslin node demote n1 --undo";
}
