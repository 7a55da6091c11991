//! Short random lives of small clusters: whatever the network, the disks and the operators do, R1
//! to R7 hold at every step (see [`super::ledger`]); and when the faults end, the group goes on.
//!
//! `RAFT_SEEDS=N` lives N lives, `RAFT_SEED=N` tells one, `RAFT_MUTANT=name` plants a bug (feature
//! `mutants`), which must be found, here or by a script.

use super::cluster::{Cluster, Weather};
use crate::base::{Index, NodeId, Prng};
use crate::raft::{Change, Configuration, DiskRoom, Drive, Input, Options, Raft};
use core::time::Duration;
use std::format;
use std::string::String;

/// Enough to meet every kind of fault in every profile; a second or so.
const SEEDS: u64 = 300;

/// As bad as clocks may be.
const DRIFT_PPM: u32 = 100_000;

/// Acts of faults, operators and clients in one life.
const ACTS: u64 = 80;

#[test]
fn nothing_is_lost_and_nobody_disagrees_whatever_happens() {
    #[cfg(feature = "mutants")]
    plant();
    let seeds = match std::env::var("RAFT_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("RAFT_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..std::env::var("RAFT_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number")),
    };
    let is_alone = seeds.end - seeds.start == 1;
    let mut total = Totals::default();
    for seed in seeds {
        let life = std::panic::catch_unwind(|| live(seed, is_alone));
        total.add(life.unwrap_or_else(|_| panic!("RAFT_SEED={seed} shows it")));
    }
    std::println!("{total:?}");
    assert!(is_alone || (total.commits > 0 && total.reads > 0 && total.elections > 0));
}

/// Plants the bug that `RAFT_MUTANT` names.
#[cfg(feature = "mutants")]
pub(super) fn plant() {
    use crate::base::mutant::{Mutant, activate};
    if let Ok(name) = std::env::var("RAFT_MUTANT") {
        activate(Mutant::named(&name).expect("RAFT_MUTANT is a planted bug"));
    }
}

#[derive(Default, Debug)]
struct Totals {
    commits: u64,
    reads: u64,
    elections: u64,
    installed: u64,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.commits += other.commits;
        self.reads += other.reads;
        self.elections += other.elections;
        self.installed += other.installed;
    }
}

fn live(seed: u64, is_told: bool) -> Totals {
    let mut prng = Prng::seeded(seed);
    let voters = [1, 2, 3, 3, 3, 4, 5, 5][prng.below(8) as usize];
    let founding = Configuration::of_voters((1..=voters).map(NodeId));
    let options = Options { keeps_leases: seed.is_multiple_of(2), ..options(&mut prng) };
    let mut cluster = Cluster::founded(founding, options, seed);
    drift(&mut cluster, &mut prng);
    cluster.is_traced = is_told;
    cluster.is_loud = is_told;
    let is_damaging = voters >= 3 && prng.chance(400_000);
    let mut installed = 0;
    cluster.weather = weather(&mut prng);
    for number in 0..ACTS {
        act(&mut cluster, &mut prng, number, is_damaging);
        mend_votes(&mut cluster);
        let pause = prng.duration(Duration::from_millis(1), Duration::from_millis(150));
        cluster.run(pause);
        installed += cluster.transcript.matches("installed snapshot").count() as u64;
        cluster.transcript.clear();
    }
    recover(&mut cluster);
    Totals {
        commits: cluster.ledger.highest().0,
        reads: cluster.reads_answered,
        elections: cluster
            .running()
            .iter()
            .filter_map(|id| cluster.raft(*id))
            .map(term)
            .max()
            .unwrap_or(0),
        installed,
    }
}

fn term(raft: &Raft) -> u64 {
    raft.term().0
}

/// Each seed draws its own sizes: most bugs hide behind one lucky batch size.
fn options(prng: &mut Prng) -> Options {
    Options {
        append_entries_max: [1, 2, 7, 64][prng.below(4) as usize],
        append_bytes_max: [1, 10, 1 << 20][prng.below(3) as usize],
        appends_in_flight_max: [1, 2, 64][prng.below(3) as usize],
        appends_gather_bytes: [0, 20, 64 << 10][prng.below(3) as usize],
        snapshot_chunk_bytes: [3, 16, 1 << 18][prng.below(3) as usize],
        log_tail_entries: [0, 3, 1_000][prng.below(3) as usize],
        lease_reads: prng.chance(500_000),
        clock_drift_ppm: DRIFT_PPM,
        drive: if prng.chance(200_000) { Drive::Passive } else { Drive::Ticking },
        ..Options::default()
    }
}

/// Every clock runs as it likes, within what is allowed.
fn drift(cluster: &mut Cluster, prng: &mut Prng) {
    let most = i64::from(DRIFT_PPM);
    for id in cluster.ids() {
        let ppm = [-most, 0, most][prng.below(3) as usize];
        cluster.drift.insert(id, ppm);
    }
}

fn weather(prng: &mut Prng) -> Weather {
    let millis = Duration::from_millis;
    Weather {
        delay: (millis(1), millis([2, 20, 200, 900][prng.below(4) as usize])),
        sync: (millis(1), millis([2, 30, 300][prng.below(3) as usize])),
        loss: [0, 20_000, 200_000][prng.below(3) as usize],
        duplicates: [0, 50_000][prng.below(2) as usize],
    }
}

fn act(cluster: &mut Cluster, prng: &mut Prng, number: u64, is_damaging: bool) {
    let ids = cluster.ids();
    let Some(&any) = prng.pick(&ids) else { return };
    // Trouble finds the leader more often than chance would.
    let victim = cluster.leader().filter(|_| prng.chance(500_000)).unwrap_or(any);
    match prng.below(20) {
        0..=6 => offer(cluster, prng, number),
        7 => cluster.read(any, false),
        8 | 9 => cluster.read(any, true),
        10 | 11 if cluster.raft(victim).is_some() => {
            cluster.crash(victim);
            cluster.spread_word(victim, false);
        }
        12 | 13 if cluster.raft(any).is_none() => {
            cluster.start(any);
            cluster.spread_word(any, true);
        }
        14 => cluster.isolate(victim),
        15 => {
            cluster.cut.insert((victim, any));
        }
        16 | 17 => cluster.cut.clear(),
        19 if cluster.options.drive == Drive::Passive => govern(cluster, prng, any),
        18 if prng.chance(200_000) => {
            let room = [DiskRoom::Full, DiskRoom::Room][prng.below(2) as usize];
            cluster.input(any, Input::Disk(room));
        }
        18 if is_damaging => damage(cluster, prng, victim),
        18 => operate(cluster, prng, any),
        _ => cluster.snapshot(any, prng.chance(800_000)),
    }
}

fn offer(cluster: &mut Cluster, prng: &mut Prng, number: u64) {
    let names: [String; 3] = core::array::from_fn(|i| format!("{number}.{i}"));
    let names: [&str; 3] = core::array::from_fn(|i| names[i].as_str());
    let count = 1 + prng.below(3) as usize;
    // Everyone who believes to lead is offered them: two at once may.
    for id in cluster.running() {
        cluster.propose(id, &names[..count]);
    }
}

fn operate(cluster: &mut Cluster, prng: &mut Prng, any: NodeId) {
    let Some(leader) = cluster.leader() else { return };
    match prng.below(4) {
        0 => cluster.input(leader, Input::Transfer(any)),
        1 => cluster.input(any, Input::Campaign),
        _ => {
            let wishes = [
                Change::AddLearner(any),
                Change::AddVoter(any),
                Change::Demote(any),
                Change::Remove(any),
            ];
            let Some(&wish) = prng.pick(&wishes) else { return };
            let newcomer = NodeId(cluster.ids().len() as u64 + 1);
            if newcomer.0 <= 6 && prng.chance(300_000) {
                cluster.add(newcomer, Configuration::default());
                cluster.input(leader, Input::Change(std::vec![Change::AddVoter(newcomer)]));
            } else {
                cluster.input(leader, Input::Change(std::vec![wish]));
            }
        }
    }
}

/// What the control group does for a passive group, well or badly.
fn govern(cluster: &mut Cluster, prng: &mut Prng, any: NodeId) {
    match prng.below(4) {
        0 => cluster.spread_word(any, prng.chance(500_000)),
        1 if prng.chance(200_000) => cluster.drive_all(Drive::Ticking),
        _ => cluster.input(any, Input::Campaign),
    }
}

/// A disk loses data. One at a time, and while everyone votes: else nobody could take its vote
/// away.
fn damage(cluster: &mut Cluster, prng: &mut Prng, victim: NodeId) {
    let votes = |id: &NodeId| {
        cluster.raft(*id).is_some_and(|raft| {
            !raft.is_changing() && cluster.ids().iter().all(|id| raft.configuration().is_voter(*id))
        })
    };
    let Some(raft) = cluster.raft(victim) else { return };
    if cluster.ids().iter().all(votes) && !cluster.is_rebuilding() {
        let keep = prng.below(raft.last().index.0 + 1);
        let keep = if keep < raft.first_index().0 { 0 } else { keep };
        cluster.damage(victim, Index(keep), true);
    }
}

/// What the planner does: whoever rebuilds loses its vote, and has it back later.
fn mend_votes(cluster: &mut Cluster) {
    let Some(leader) = cluster.leader() else { return };
    let Some(raft) = cluster.raft(leader) else { return };
    let rebuilding = raft.rebuilding();
    let configuration = raft.configuration();
    let change = match rebuilding.iter().find(|id| configuration.voters.contains(id)) {
        Some(id) => Change::Demote(*id),
        None => match configuration.learners.iter().find(|id| !rebuilding.contains(id)) {
            Some(id) if cluster.is_damaged => Change::AddVoter(*id),
            _ => return,
        },
    };
    cluster.input(leader, Input::Change(std::vec![change]));
}

/// Everything works again: before long there is a leader, it commits, and all members agree.
fn recover(cluster: &mut Cluster) {
    cluster.cut.clear();
    cluster.weather = Weather::calm();
    for id in cluster.ids() {
        if cluster.raft(id).is_none() {
            cluster.start(id);
        }
    }
    for id in cluster.ids() {
        cluster.input(id, Input::Disk(DiskRoom::Room));
        cluster.spread_word(id, true);
    }
    for turn in 0..80 {
        cluster.run(Duration::from_millis(100));
        mend_votes(cluster);
        // Passive groups are told who shall lead, if nobody does.
        let leads = |id: &NodeId| cluster.raft(*id).is_some_and(|raft| raft.leader() == Some(*id));
        if turn % 10 == 5 && !cluster.running().iter().any(leads) {
            let candidate = cluster.ids()[turn / 10 % cluster.ids().len()];
            cluster.input(candidate, Input::Campaign);
        }
    }
    assert!(!cluster.is_rebuilding(), "a healed group rebuilds");
    let leader = cluster.leader().expect("a healed group has a leader");
    assert!(cluster.propose(leader, &["last"]), "a healed group takes proposals");
    cluster.read(leader, false);
    cluster.run(Duration::from_secs(3));
    let leader = cluster.leader().expect("it still has");
    let raft = cluster.raft(leader).expect("it runs");
    assert_eq!(raft.uncommitted(), 0, "a healed group commits all");
    let (commit, members) = (raft.commit(), raft.configuration().members());
    assert!(!raft.configuration().is_joint(), "a change ends");
    for id in members {
        let applied = cluster.raft(id).map(Raft::applied);
        assert_eq!(applied, Some(commit), "{id:?} does not catch up");
        cluster.check_state(id);
    }
    cluster.check_logs();
}
