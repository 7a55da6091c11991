//! The kinds of faults.

/// One kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// SIGKILL for some node.
    Kill,
    /// SIGKILL for the leader.
    KillLeader,
    /// SIGKILL for every node.
    KillAll,
    /// SIGSTOP for some node.
    Pause,
    /// SIGSTOP for the leader.
    PauseLeader,
    /// Nothing reaches some node, and nothing comes from it.
    Isolate,
    /// The same for the leader.
    IsolateLeader,
    /// Nothing gets from one node to another.
    OneWay,
    /// The leader and one other cannot reach each other; everyone else reaches both.
    Partial,
    /// Every node reaches its two neighbours only. Needs five nodes.
    Ring,
    /// The leader hears nothing.
    DeafLeader,
    /// The leader is not heard.
    MuteLeader,
    /// The power of some node is cut.
    PowerOne,
    /// The power of every node is cut.
    PowerAll,
    /// The disk of some node is full.
    FullDisk,
    /// The disks of all nodes are full.
    FullAll,
    /// Every sync of some node takes long.
    SlowDisk,
    /// Syncs of some node fail.
    SyncError,
    /// The wall clock of some node is wrong by an hour.
    ClockJump,
    /// The clocks of some node run fast or slow.
    ClockDrift,
    /// Bits of a stopped node's log change.
    FlipLog,
    /// Bits of a stopped node's snapshot change.
    FlipSnapshot,
    /// A stopped node loses its log and its snapshots, and keeps who it is.
    Wipe,
    /// Of all packets some are lost.
    Loss,
    /// A cable is plugged out and in again and again.
    Flap,
    /// Some node gets a small share of a processor.
    Starve,
    /// Every node is restarted, one after the other.
    Rolling,
    /// The leader is asked to end.
    StopLeader,
    /// Leadership is handed to another.
    Transfer,
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(Kind, &'static str); 29] = [
        (Kind::Kill, "kill"),
        (Kind::KillLeader, "kill-leader"),
        (Kind::KillAll, "kill-all"),
        (Kind::Pause, "pause"),
        (Kind::PauseLeader, "pause-leader"),
        (Kind::Isolate, "isolate"),
        (Kind::IsolateLeader, "isolate-leader"),
        (Kind::OneWay, "one-way"),
        (Kind::Partial, "partial"),
        (Kind::Ring, "ring"),
        (Kind::DeafLeader, "deaf-leader"),
        (Kind::MuteLeader, "mute-leader"),
        (Kind::PowerOne, "power-one"),
        (Kind::PowerAll, "power-all"),
        (Kind::FullDisk, "full-disk"),
        (Kind::FullAll, "full-all"),
        (Kind::SlowDisk, "slow-disk"),
        (Kind::SyncError, "sync-error"),
        (Kind::ClockJump, "clock-jump"),
        (Kind::ClockDrift, "clock-drift"),
        (Kind::FlipLog, "flip-log"),
        (Kind::FlipSnapshot, "flip-snapshot"),
        (Kind::Wipe, "wipe"),
        (Kind::Loss, "loss"),
        (Kind::Flap, "flap"),
        (Kind::Starve, "starve"),
        (Kind::Rolling, "rolling"),
        (Kind::StopLeader, "stop-leader"),
        (Kind::Transfer, "transfer"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Kind::ALL.iter().find(|(kind, _)| *kind == self);
        found.expect("every kind is in the list").1
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.iter().find(|(_, other)| *other == name).map(|(kind, _)| *kind)
    }

    /// What a run does when nothing else is asked of it.
    pub fn usual(nodes: u8) -> Vec<Kind> {
        let fits = |kind: &Kind| *kind != Kind::Ring || nodes >= 5;
        Kind::ALL.iter().map(|(kind, _)| *kind).filter(fits).collect()
    }
}
