//! Alarms that were raised by hand, as etcd keeps them.
//!
//! While one of the kind [`AlarmKind::NoSpace`] is raised nothing is added, as at the quota; while
//! one of the kind [`AlarmKind::Corrupt`] is, nothing is read or written but by the cluster itself.
//! What nodes notice by themselves (a full disk, the quota) is no part of this: it ends by itself.

use super::digest::Digest;
use super::snapshot::{RestoreError, require};
use super::{Refusal, Response};
use crate::base::NodeId;
use alloc::collections::BTreeSet;

/// Most alarms: two for each member of the largest cluster, and some to spare.
pub const ALARMS_MAX: usize = 16_384;

/// What an alarm is about. The numbers are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmKind {
    /// Nothing.
    None = 0,
    /// There is no room.
    NoSpace = 1,
    /// What is kept cannot be relied upon.
    Corrupt = 2,
}

/// One alarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Alarm {
    /// The member it is about; 0 is nobody in particular.
    #[prost(fixed64, tag = "1")]
    pub member: u64,
    /// What it is about.
    #[prost(enumeration = "AlarmKind", tag = "2")]
    pub kind: i32,
}

/// Raise an alarm, or end one.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SetAlarm {
    /// Which.
    #[prost(message, required, tag = "1")]
    pub alarm: Alarm,
    /// To raise it.
    #[prost(bool, tag = "2")]
    pub is_raised: bool,
}

/// Those that are raised.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Alarms {
    raised: BTreeSet<Alarm>,
}

impl Alarms {
    pub(super) fn set(&mut self, set: &SetAlarm) -> Result<Response, Refusal> {
        let is_about = matches!(set.alarm.kind(), AlarmKind::NoSpace | AlarmKind::Corrupt);
        if !is_about || !AlarmKind::is_valid(set.alarm.kind) {
            return Err(Refusal::AlarmUnknown);
        }
        if set.is_raised && self.raised.len() >= ALARMS_MAX {
            return Err(Refusal::AlarmUnknown);
        }
        let changed = match set.is_raised {
            true => self.raised.insert(set.alarm),
            false => self.raised.remove(&set.alarm),
        };
        Ok(Response::Alarm { changed })
    }

    /// Those of a member that is none any more.
    pub(super) fn forget(&mut self, member: NodeId) {
        self.raised.retain(|alarm| alarm.member != member.0);
    }

    pub(super) fn is_raised(&self, kind: AlarmKind) -> bool {
        self.raised.iter().any(|alarm| alarm.kind() == kind)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Alarm> + '_ {
        self.raised.iter().copied()
    }

    pub(super) fn take(&mut self, alarm: Alarm) -> Result<(), RestoreError> {
        require(self.raised.len() < ALARMS_MAX, "too many alarms")?;
        let is_about = AlarmKind::is_valid(alarm.kind) && alarm.kind() != AlarmKind::None;
        require(is_about, "an alarm about nothing")?;
        require(self.raised.insert(alarm), "an alarm twice")
    }

    /// Nothing where none is raised: snapshots of before there were alarms keep their digest.
    pub(super) fn digest(&self, digest: Digest) -> Digest {
        let add = |digest: Digest, alarm: &Alarm| {
            digest.number(7).number(alarm.member).number(u64::from(alarm.kind.unsigned_abs()))
        };
        self.raised.iter().fold(digest, add)
    }
}
