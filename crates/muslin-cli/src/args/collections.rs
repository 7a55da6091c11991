//! `muslin counter ..`, `map`, `set`, `multimap`, `list`, `queue` and `barrier`

use super::coordination::{time, ttl};
use super::numbers::{signed, whole};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(crate) enum Counter {
    /// What it is
    #[command(after_help = "Examples:\n  muslin counter get hits")]
    Get {
        /// What it is called
        name: String,
    },
    /// Add to it, and tell what came of it: once, also when an answer is lost
    #[command(after_help = "Examples:\n  muslin counter add hits\n  muslin counter add hits -5")]
    Add {
        /// What it is called
        name: String,
        /// How much
        #[arg(default_value_t = 1, allow_negative_numbers = true, value_parser = signed())]
        by: i64,
    },
    /// Set it
    #[command(after_help = "Examples:\n  muslin counter set hits 0 --if 7")]
    Set {
        /// What it is called
        name: String,
        /// What it is to be
        #[arg(allow_negative_numbers = true, value_parser = signed())]
        to: i64,
        /// Only if it is this: otherwise exit code 4
        #[arg(long = "if", value_name = "NUMBER", allow_negative_numbers = true,
            value_parser = signed())]
        expected: Option<i64>,
    },
    /// Take it away: it is 0
    #[command(after_help = "Examples:\n  muslin counter rm hits")]
    Rm {
        /// What it is called
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Map {
    /// The value of a key
    #[command(after_help = "Examples:\n  muslin map get users ann")]
    Get {
        /// What it is called
        name: String,
        /// Which key
        key: String,
    },
    /// Set the value of a key
    #[command(after_help = "Examples:\n  muslin map put users ann 7 --if-absent")]
    Put {
        /// What it is called
        name: String,
        /// Which key
        key: String,
        /// The value; `-`, or nothing, reads it from stdin
        #[arg(allow_negative_numbers = true)]
        value: Option<String>,
        /// Only if the key is not there: otherwise exit code 4
        #[arg(long)]
        if_absent: bool,
    },
    /// Take a key out
    #[command(after_help = "Examples:\n  muslin map rm users ann")]
    Rm {
        /// What it is called
        name: String,
        /// Which key
        key: String,
    },
    /// All keys and values
    #[command(visible_alias = "list", after_help = "Examples:\n  muslin map ls users")]
    Ls {
        /// What it is called
        name: String,
    },
    /// Take everything out
    #[command(after_help = "Examples:\n  muslin map clear users")]
    Clear {
        /// What it is called
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Set {
    /// Put an element in
    #[command(after_help = "Examples:\n  muslin set add seen a")]
    Add {
        /// What it is called
        name: String,
        /// Which element
        element: String,
    },
    /// Take an element out
    #[command(after_help = "Examples:\n  muslin set rm seen a")]
    Rm {
        /// What it is called
        name: String,
        /// Which element
        element: String,
    },
    /// Whether an element is there: exit code 3 if not
    #[command(after_help = "Examples:\n  muslin set has seen a")]
    Has {
        /// What it is called
        name: String,
        /// Which element
        element: String,
    },
    /// All elements
    #[command(visible_alias = "list", after_help = "Examples:\n  muslin set ls seen")]
    Ls {
        /// What it is called
        name: String,
    },
    /// Take everything out
    #[command(after_help = "Examples:\n  muslin set clear seen")]
    Clear {
        /// What it is called
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Multimap {
    /// The values of a key
    #[command(after_help = "Examples:\n  muslin multimap get tags n1")]
    Get {
        /// What it is called
        name: String,
        /// Which key
        key: String,
    },
    /// Give a key one more value
    #[command(after_help = "Examples:\n  muslin multimap put tags n1 fast")]
    Put {
        /// What it is called
        name: String,
        /// Which key
        key: String,
        /// Which value
        value: String,
    },
    /// Take a value of a key out, or all of them
    #[command(after_help = "Examples:\n  muslin multimap rm tags n1 fast")]
    Rm {
        /// What it is called
        name: String,
        /// Which key
        key: String,
        /// Which value [default: all]
        value: Option<String>,
    },
    /// All keys and values
    #[command(visible_alias = "list", after_help = "Examples:\n  muslin multimap ls tags")]
    Ls {
        /// What it is called
        name: String,
    },
    /// Take everything out
    #[command(after_help = "Examples:\n  muslin multimap clear tags")]
    Clear {
        /// What it is called
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum List {
    /// Put a value at the end: once, also when an answer is lost
    #[command(after_help = "Examples:\n  muslin list push names ann")]
    Push {
        /// What it is called
        name: String,
        /// The value; `-`, or nothing, reads it from stdin
        value: Option<String>,
    },
    /// What stands there, counted from 0
    #[command(after_help = "Examples:\n  muslin list get names 0")]
    Get {
        /// What it is called
        name: String,
        /// Where
        #[arg(value_parser = whole())]
        index: u64,
    },
    /// Put a value in the place of another
    #[command(after_help = "Examples:\n  muslin list set names 0 bob")]
    Set {
        /// What it is called
        name: String,
        /// Where
        #[arg(value_parser = whole())]
        index: u64,
        /// The value; `-`, or nothing, reads it from stdin
        value: Option<String>,
    },
    /// Take out what stands there: once, also when an answer is lost
    #[command(after_help = "Examples:\n  muslin list rm names 0")]
    Rm {
        /// What it is called
        name: String,
        /// Where
        #[arg(value_parser = whole())]
        index: u64,
    },
    /// All values, in order
    #[command(visible_alias = "list", after_help = "Examples:\n  muslin list ls names")]
    Ls {
        /// What it is called
        name: String,
    },
    /// Take everything out
    #[command(after_help = "Examples:\n  muslin list clear names")]
    Clear {
        /// What it is called
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Queue {
    /// Put an item at the end: once, also when an answer is lost
    #[command(after_help = "Examples:\n  muslin queue push jobs build")]
    Push {
        /// What it is called
        name: String,
        /// The item; `-`, or nothing, reads it from stdin
        value: Option<String>,
    },
    /// Take the first item for good, and print it; exit code 3 if there is none
    #[command(after_help = "Examples:\n  muslin queue pop jobs")]
    Pop {
        /// What it is called
        name: String,
    },
    /// Run a command for each item, which stands on its stdin
    #[command(after_help = "Examples:\n  muslin queue work jobs -- ./build.sh\n  \
        muslin queue work jobs --idle 10s --count 5 -- ./build.sh")]
    Work(Work),
    /// All items, in order, and which of them somebody has
    #[command(visible_alias = "list", after_help = "Examples:\n  muslin queue ls jobs")]
    Ls {
        /// What it is called
        name: String,
    },
    /// Take everything out
    #[command(after_help = "Examples:\n  muslin queue clear jobs")]
    Clear {
        /// What it is called
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Work {
    /// What it is called
    pub(crate) name: String,
    /// How long an item stays with this process when it is gone: then somebody else gets it
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = ttl)]
    pub(crate) ttl: Duration,
    /// End when nothing has come for so long [default: go on]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) idle: Option<Duration>,
    /// End after so many items
    #[arg(long, value_parser = whole())]
    pub(crate) count: Option<u64>,
    /// What to run, with MUSLIN_ITEM in its environment. With exit code 0 the item is done; with
    /// another it goes back to where it was, and this ends with that code
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Wait until so many are there
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  muslin barrier start --parties 3\n  \
    muslin barrier start --parties 3 --wait 1m")]
pub(crate) struct Barrier {
    /// What it is called
    pub(crate) name: String,
    /// How many, this one among them
    #[arg(long, value_parser = whole())]
    pub(crate) parties: u64,
    /// How long this one counts when it is gone
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = ttl)]
    pub(crate) ttl: Duration,
    /// Wait so long: then exit code 4 [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) wait: Option<Duration>,
}
