//! What happened, by what it concerns, for whoever asks why.
//!
//! The node's own list of events holds the last thousand of all kinds; a busy cluster turns it over
//! in minutes. Here those are kept that explain something, each kind for itself.

use super::problem::Problem;
use super::story::Story;
use muslin_core::base::NodeId;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

/// Kept of each topic.
const KEPT: usize = 512;

/// Longest name of a refused joiner that is kept: strangers choose it.
const NAME_CHARS_MAX: usize = 64;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Topic {
    /// Who leads and who votes.
    Leadership,
    /// How a node fared.
    Nodes,
    /// Who came in, waits or was refused.
    Joins,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) kind: &'static str,
    pub(super) text: String,
    pub(super) node: Option<NodeId>,
    pub(super) term: Option<u64>,
}

/// A join that this node has refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) time: SystemTime,
    pub(super) name: String,
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) hint: String,
}

/// See the module.
#[derive(Default)]
pub(super) struct Chronicle {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    leadership: VecDeque<Entry>,
    nodes: VecDeque<Entry>,
    joins: VecDeque<Entry>,
    refused: VecDeque<Refused>,
}

impl Chronicle {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock panics")
    }

    /// Keeps what explains something.
    pub(super) fn take(&self, time: SystemTime, story: &Story) {
        let topic = match story.kind {
            "leader-changed"
            | "leader-lost"
            | "election"
            | "leadership-shed"
            | "configuration-changed"
            | "change-refused" => Topic::Leadership,
            "join-held" | "join-dropped" | "token-refused" | "member-admitted" => Topic::Joins,
            "node-changed" => return,
            kind if kind.starts_with("node-") || kind.starts_with("member-") => Topic::Nodes,
            _ => return,
        };
        let Story { kind, ref text, node, term } = *story;
        let entry = Entry { time, kind, text: text.clone(), node, term };
        let mut kept = self.kept();
        push(kept.list(topic), entry);
    }

    /// Keeps why a join was refused here.
    pub(super) fn refused(&self, name: &str, problem: &Problem) {
        let name = name.chars().take(NAME_CHARS_MAX).collect();
        let Problem { code, detail, hint, .. } = problem.clone();
        push(
            &mut self.kept().refused,
            Refused { time: SystemTime::now(), name, code, detail, hint },
        );
    }

    /// The last of a topic, the latest last.
    pub(super) fn of(&self, topic: Topic) -> Vec<Entry> {
        self.kept().list(topic).iter().cloned().collect()
    }

    /// The last refusal of a joiner of this name.
    pub(super) fn last_refusal(&self, name: &str) -> Option<Refused> {
        self.kept().refused.iter().rev().find(|refused| refused.name == name).cloned()
    }
}

impl Kept {
    fn list(&mut self, topic: Topic) -> &mut VecDeque<Entry> {
        match topic {
            Topic::Leadership => &mut self.leadership,
            Topic::Nodes => &mut self.nodes,
            Topic::Joins => &mut self.joins,
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(entry);
}
