//! What is done to the nodes.
//!
//! Never is more broken at once than a quorum bears, except where everything stops at once:
//! then nothing that was acknowledged may be lost.

mod cuts;
mod deaths;
mod disks;
mod field;
mod kind;
mod slowness;

pub use field::Field;
pub use kind::Kind;
pub use slowness::DRIFT_PERMILLE;

impl Kind {
    /// Does it, waits, and undoes it; what was done, in a few words.
    pub fn strike(self, field: &mut Field<'_>) -> Result<String, String> {
        match self {
            Kind::Kill => deaths::kill_any(field),
            Kind::KillLeader => deaths::kill_leader(field),
            Kind::KillAll => deaths::kill_all(field),
            Kind::Rolling => deaths::rolling(field),
            Kind::StopLeader => deaths::stop_leader(field),
            Kind::Transfer => deaths::transfer(field),
            Kind::Pause => slowness::pause_any(field),
            Kind::PauseLeader => slowness::pause_leader(field),
            Kind::Starve => slowness::starve(field),
            Kind::ClockJump => slowness::clock_jump(field),
            Kind::ClockDrift => slowness::clock_drift(field),
            Kind::Isolate => cuts::isolate_any(field),
            Kind::IsolateLeader => cuts::isolate_leader(field),
            Kind::OneWay => cuts::one_way(field),
            Kind::Partial => cuts::partial(field),
            Kind::Ring => cuts::ring(field),
            Kind::DeafLeader => cuts::deaf_leader(field),
            Kind::MuteLeader => cuts::mute_leader(field),
            Kind::Loss => cuts::loss(field),
            Kind::Flap => cuts::flap(field),
            Kind::PowerOne => disks::power_one(field),
            Kind::PowerAll => disks::power_all(field),
            Kind::FullDisk => disks::full(field),
            Kind::FullAll => disks::full_all(field),
            Kind::SlowDisk => disks::slow(field),
            Kind::SyncError => disks::sync_error(field),
            Kind::FlipLog => disks::flip_log(field),
            Kind::FlipSnapshot => disks::flip_snapshot(field),
            Kind::Wipe => disks::wipe(field),
        }
    }
}
