//! One run: faults one after the other while clients work, then judgement.

use crate::check::{Verdict, check};
use crate::client::{Ask, Burst, Draw, Load, Recorder};
use crate::fault::{DRIFT_PERMILLE, Field, Kind};
use crate::figures::{Figures, Struck, longest_gap, next_after};
use crate::history::History;
use crate::stage::{Plan, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Between two faults, so that one is not blamed for the other.
const QUIET: Duration = Duration::from_millis(400);

/// Writes before the first fault: more entries than make a snapshot.
const WARM_UP: u32 = 110_000;

/// While it warms up, looks whether it is to end.
const WARM_UP_LOOK: Duration = Duration::from_millis(50);

/// Looked at before a fault, to know when the last write was acknowledged.
const LOOK_BACK: Duration = Duration::from_secs(5);

/// After the last fault leases end and everyone catches up. Longer than a lease and its allowance.
const AFTERMATH: Duration = Duration::from_secs(25);

/// Watchers are told of everything in this time after the last write.
const TOLD_WAIT: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long faults go on.
    pub length: Duration,
    /// Which faults in which order, and what clients do.
    pub seed: u64,
    /// What may happen.
    pub kinds: Vec<Kind>,
    /// On which stage.
    pub plan: Plan,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What each fault cost.
    pub figures: Figures,
    /// What the checkers say.
    pub verdict: Verdict,
    /// All that clients did and saw.
    pub history: History,
}

/// Runs a campaign. An error is a sentence: what a run could not do, or an interruption.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Report, String> {
    let mut stage = Stage::build(&options.plan)?;
    let recorder = Arc::new(Recorder::new(stage.nodes.len()));
    for node in 0..options.plan.nodes {
        recorder.turn_life(node);
    }
    let mut load = Load::start(&stage.machines(), recorder.clone(), options.seed)?;
    let mut figures = Figures::default();
    let mut bad = Vec::new();
    if let Err(sentence) = strike_all(options, &mut stage, &load, (&mut figures, stop)) {
        if stop.load(Ordering::Relaxed) {
            load.stop()?;
            stage.remove()?;
            return Err(sentence);
        }
        bad.push(sentence);
    }
    let mut history =
        if bad.is_empty() { wind_down(&stage, &mut load, &mut bad) } else { Vec::new() };
    load.stop()?;
    let mut history = History { dumps: std::mem::take(&mut history), ..recorder.take() };
    if options.kinds.contains(&Kind::ClockDrift) {
        history.clock_fast_permille = DRIFT_PERMILLE;
    }
    let mut verdict = check(&history);
    for sentence in bad {
        verdict.findings.add("progress", sentence);
    }
    if verdict.findings.count() == 0 {
        stage.remove()?;
    }
    Ok(Report { figures, verdict, history })
}

/// Every kind once in random order, again and again, until the time is over.
fn strike_all(
    options: &Options,
    stage: &mut Stage,
    load: &Load,
    (figures, stop): (&mut Figures, &AtomicBool),
) -> Result<(), String> {
    let mut draw = Draw::seeded(options.seed);
    let mut order = Draw::seeded(options.seed.rotate_left(32) ^ 1);
    let mut deck = Vec::new();
    let mut field = Field { stage, load, draw: &mut draw, stop, struck: 0, healed: 0, restarts: 0 };
    let whole = field.settle()?;
    println!("whole after {:.1} s", whole.as_secs_f64());
    warm_up(&mut field)?;
    let began = Instant::now();
    while began.elapsed() < options.length {
        if deck.is_empty() {
            deck.clone_from(&options.kinds);
            order.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { return Err("no kind of fault is left".to_string()) };
        field.hold(QUIET.as_millis() as u64)?;
        let before = began.elapsed();
        let struck = strike(kind, &mut field).map_err(|e| format!("{}: {e}", kind.name()))?;
        println!(
            "{:>7.1} s  {:<15} {:<24} gap {:>5} ms, first write {:>5} ms, whole {:>5} ms",
            before.as_secs_f64(),
            kind.name(),
            struck.whom,
            struck.gap.as_millis(),
            struck.resumed.as_millis(),
            struck.settled.as_millis(),
        );
        figures.add(struck);
    }
    Ok(())
}

/// Writes until the nodes have taken snapshots.
fn warm_up(field: &mut Field<'_>) -> Result<(), String> {
    let began = Instant::now();
    let share = Burst::Small(WARM_UP / u32::from(field.nodes()));
    let bursts: Vec<_> = (0..field.nodes()).map(|node| field.load.burst(node, share)).collect();
    for burst in bursts {
        while burst.recv_timeout(WARM_UP_LOOK) == Err(RecvTimeoutError::Timeout) {
            field.hold(0)?;
        }
    }
    field.settle()?;
    println!("{WARM_UP} writes in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn strike(kind: Kind, field: &mut Field<'_>) -> Result<Struck, String> {
    let recorder = field.load.recorder();
    let since = recorder.now().saturating_sub(LOOK_BACK.as_nanos() as u64);
    let whom = kind.strike(field)?;
    let settled = field.settle()?;
    let recorder = field.load.recorder();
    let times = recorder.answered_since(since);
    Ok(Struck {
        kind,
        whom,
        gap: longest_gap(&times, field.struck, recorder.now()),
        resumed: next_after(&times, field.healed),
        settled,
    })
}

/// Lets leases end, stops writes, and looks at every node.
fn wind_down(stage: &Stage, load: &mut Load, bad: &mut Vec<String>) -> Vec<crate::history::Dump> {
    let nodes = 0..stage.nodes.len() as u8;
    load.stop_writing();
    std::thread::sleep(AFTERMATH);
    let deadline = Instant::now() + TOLD_WAIT;
    let mut dumps;
    loop {
        dumps = nodes.clone().filter_map(|node| load.ask(node, Ask::Dump)).collect::<Vec<_>>();
        let last = dumps.iter().map(|dump| dump.revision).max().unwrap_or(0);
        let even = dumps.len() == nodes.len() && dumps.iter().all(|dump| dump.revision == last);
        let behind = nodes.clone().find(|node| load.recorder().watched_to(*node) < last);
        if even && behind.is_none() {
            return dumps;
        }
        if Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let revisions: Vec<_> = dumps.iter().map(|dump| (dump.node + 1, dump.revision)).collect();
    let watched: Vec<_> = nodes.map(|node| load.recorder().watched_to(node)).collect();
    bad.push(format!(
        "in the end nodes are at {revisions:?} and their watchers were told of {watched:?}"
    ));
    dumps
}
