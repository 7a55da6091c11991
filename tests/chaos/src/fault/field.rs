//! Where a fault takes place: what it may use.

use crate::client::{Ask, Draw, Load, Standing};
use crate::history::Nanos;
use crate::stage::{Node, Stage};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A cluster that has no leader for so long has a bug.
const LEADER_WAIT: Duration = Duration::from_secs(20);

/// A cluster that is not whole again so long after a fault has a bug.
const SETTLE_WAIT: Duration = Duration::from_secs(45);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The cluster, its load, and what the fault tells of itself.
pub struct Field<'a> {
    /// Machines.
    pub stage: &'a mut Stage,
    /// Clients.
    pub load: &'a Load,
    /// Numbers.
    pub draw: &'a mut Draw,
    /// Raised when the run is to end at once.
    pub stop: &'a AtomicBool,
    /// When the fault began.
    pub struck: Nanos,
    /// When it was undone.
    pub healed: Nanos,
    /// How often a process may end by itself and be started again, as whoever supervises a node
    /// would.
    pub restarts: u32,
}

impl Field<'_> {
    /// How many nodes there are.
    pub fn nodes(&self) -> u8 {
        self.stage.nodes.len() as u8
    }

    /// One of them.
    pub fn node(&mut self, node: u8) -> &mut Node {
        &mut self.stage.nodes[usize::from(node)]
    }

    /// Everyone but one.
    pub fn others(&self, node: u8) -> Vec<u8> {
        (0..self.nodes()).filter(|other| *other != node).collect()
    }

    /// Some node.
    pub fn any(&mut self) -> u8 {
        self.draw.below(u64::from(self.nodes())) as u8
    }

    /// The fault begins.
    pub fn strike(&mut self) {
        self.struck = self.load.recorder().now();
    }

    /// The fault is undone.
    pub fn heal(&mut self) {
        self.healed = self.load.recorder().now();
    }

    /// Lets time pass.
    pub fn hold(&self, ms: u64) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_millis(ms);
        loop {
            self.check_stop()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn check_stop(&self) -> Result<(), String> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err("interrupted".to_string()),
            false => Ok(()),
        }
    }

    /// A process goes: its answers from here on are of nobody.
    pub fn kill(&mut self, node: u8) {
        self.node(node).kill();
        self.load.recorder().turn_life(node);
    }

    /// It comes back.
    pub fn start(&mut self, node: u8) -> Result<(), String> {
        self.load.recorder().turn_life(node);
        self.node(node).start()
    }

    /// It is asked to end, and does.
    pub fn stop_node(&mut self, node: u8) -> Result<(), String> {
        let status = self.node(node).stop();
        self.load.recorder().turn_life(node);
        let name = self.node(node).name();
        match status? {
            status if status.success() => Ok(()),
            status => Err(format!("{name} was asked to end and failed ({status})")),
        }
    }

    fn standings(&self) -> Vec<Option<Standing>> {
        (0..self.nodes()).map(|node| self.load.ask(node, Ask::Standing)).collect()
    }

    /// Who leads.
    pub fn leader(&self) -> Result<u8, String> {
        let deadline = Instant::now() + LEADER_WAIT;
        while Instant::now() < deadline {
            self.check_stop()?;
            let standings = self.standings();
            let leads = standings.iter().enumerate().filter_map(|(node, standing)| {
                let standing = standing.filter(|standing| standing.id == standing.leader)?;
                Some((standing.term, node as u8))
            });
            if let Some((_, node)) = leads.max() {
                return Ok(node);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(format!("nobody led for {} s", LEADER_WAIT.as_secs()))
    }

    /// The id of a node.
    pub fn id(&self, node: u8) -> Option<u64> {
        self.load.ask(node, Ask::Standing).map(|standing| standing.id)
    }

    /// Waits until the cluster is whole: every node votes, follows the same leader, has applied
    /// what was there when it was looked at first, and acknowledges writes. How long that took.
    pub fn settle(&mut self) -> Result<Duration, String> {
        let began = Instant::now();
        let since = self.load.recorder().now();
        let mut goal = 0;
        let mut missing = String::new();
        while began.elapsed() < SETTLE_WAIT {
            self.check_stop()?;
            self.look_after()?;
            missing = match self.missing(since, &mut goal) {
                None => {
                    self.restarts = 0;
                    return Ok(began.elapsed());
                }
                Some(missing) => missing,
            };
            std::thread::sleep(LOOK_EVERY);
        }
        Err(format!("not whole again after {} s: {missing}", SETTLE_WAIT.as_secs()))
    }

    /// What keeps the cluster from being whole.
    fn missing(&self, since: Nanos, goal: &mut u64) -> Option<String> {
        let standings = self.standings();
        let known: Vec<Standing> = standings.iter().flatten().copied().collect();
        if let Some(silent) = standings.iter().position(Option::is_none) {
            return Some(format!("n{} does not answer", silent + 1));
        }
        if *goal == 0 {
            *goal = known.iter().map(|standing| standing.applied).max().unwrap_or(0);
        }
        for (node, standing) in known.iter().enumerate() {
            let name = format!("n{}", node + 1);
            if standing.leader == 0 || standing.leader != known[0].leader {
                return Some(format!("{name} follows {:016x}", standing.leader));
            }
            if standing.applied < *goal {
                return Some(format!("{name} has applied {} of {goal}", standing.applied));
            }
            if self.load.recorder().answered_by(node as u8) <= since {
                return Some(format!("{name} acknowledges no write"));
            }
        }
        let voters = known.iter().filter(|standing| standing.is_voter).count();
        let due = voters_of(known.len());
        (voters < due).then(|| format!("{voters} of {due} vote"))
    }

    /// From here until all is well, processes may end by themselves so often.
    pub fn supervise(&mut self, restarts: u32) {
        self.restarts = restarts;
    }

    /// A node whose process ended by itself is started again if it may; else its last words.
    fn look_after(&mut self) -> Result<(), String> {
        for number in 0..self.nodes() {
            let node = self.node(number);
            let Some(status) = node.ended() else { continue };
            if self.restarts == 0 {
                let node = self.node(number);
                let (name, words) = (node.name(), node.last_words(4));
                return Err(format!("{name} ended by itself ({status}):\n{words}"));
            }
            self.restarts -= 1;
            self.load.recorder().turn_life(number);
            self.start(number)?;
        }
        Ok(())
    }
}

/// How many of so many nodes vote.
fn voters_of(nodes: usize) -> usize {
    use muslin::core::plan::{LARGE_CONTROL_MEMBERS, LARGE_VOTERS, SMALL_VOTERS};
    if nodes >= LARGE_CONTROL_MEMBERS { LARGE_VOTERS } else { SMALL_VOTERS.min(nodes) }
}
