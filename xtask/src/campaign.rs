//! Days and years of simulated time: many worlds, on all cores, as one sum.

use std::collections::{BTreeMap, VecDeque};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

/// One kind of world, and how much of the whole time passes in it.
struct Part {
    world: &'static str,
    profile: &'static str,
    nodes: u64,
    /// In a hundredth of a percent of all simulated time.
    share: u64,
}

const fn part(world: &'static str, profile: &'static str, nodes: u64, share: u64) -> Part {
    Part { world, profile, nodes, share }
}

/// Most time passes in long runs, which are mostly calm, as real clusters are; most faults strike
/// in the short ones, in which they never stop. A bare group costs a quarter of whole nodes.
const PARTS: [Part; 18] = [
    part("nodes", "long", 3, 2_925),
    part("nodes", "long", 5, 900),
    part("group", "long", 3, 4_000),
    part("group", "long", 5, 1_600),
    part("nodes", "swarm", 3, 40),
    part("nodes", "swarm", 5, 20),
    part("nodes", "churn", 3, 25),
    part("nodes", "admit", 3, 15),
    part("nodes", "groups", 3, 20),
    part("nodes", "groups", 5, 10),
    part("group", "swarm", 3, 200),
    part("group", "swarm", 5, 80),
    part("group", "churn", 3, 80),
    part("group", "nasty", 3, 40),
    part("nodes", "members", 3, 20),
    part("nodes", "members", 5, 5),
    part("nodes", "fed", 3, 15),
    part("nodes", "fed", 5, 5),
];

const SHARES: u64 = 10_000;

/// A part of a large campaign is cut into pieces of so many days, so that all cores end together.
const PIECE_DAYS: f64 = 8.0;

/// Seeds of two pieces never meet: no piece has so many.
const SEEDS_APART: u64 = 10_000_000;

/// A piece of the work: a process of its own.
struct Piece {
    part: usize,
    from: u64,
    days: f64,
}

/// Sums by name.
type Sums = BTreeMap<String, f64>;

/// Of every run of a piece, by the piece's first seed.
type Hashes = BTreeMap<u64, String>;

/// What pieces came to.
struct Answers {
    by_part: Vec<Sums>,
    hashes: Hashes,
    took: f64,
    failed: u64,
}

/// What the last campaign of this process came to, by its days and first seed: running it again
/// must come to the same.
static LAST: Mutex<Option<((u64, u64), Hashes)>> = Mutex::new(None);

/// Days that CI simulates.
pub(crate) const CI_DAYS: u64 = 30;

/// So many simulated days, spread over all kinds of world; seeds begin at `from`. The simulator is
/// built by whoever calls.
pub(crate) fn run(days: u64, from: u64) -> Result<(), String> {
    let answers = simulate_all(days, from)?;
    let told = report(&answers);
    *LAST.lock().expect("nobody panics with it") = Some(((days, from), answers.hashes));
    told
}

/// The same days in two processes each: every piece must come to the same hash.
pub(crate) fn determinism(days: u64, from: u64) -> Result<(), String> {
    let last = LAST.lock().expect("nobody panics with it").take();
    let first = match last.filter(|(of, _)| *of == (days, from)) {
        Some((_, hashes)) => hashes,
        None => simulate_all(days, from)?.hashes,
    };
    let second = simulate_all(days, from)?;
    let different: Vec<&u64> = first
        .iter()
        .filter(|(from, hash)| second.hashes.get(from) != Some(hash))
        .map(|it| it.0)
        .collect();
    for from in &different {
        println!("differs: the piece from seed {from}");
    }
    let seeds: f64 = second.by_part.iter().filter_map(|sums| sums.get("seeds")).sum();
    let differences = different.len() + first.len().abs_diff(second.hashes.len());
    println!("days={days} seeds={seeds} pieces={} differences={differences}", first.len());
    match differences {
        0 => Ok(()),
        n => Err(format!("{n} pieces gave two traces")),
    }
}

fn simulate_all(days: u64, from: u64) -> Result<Answers, String> {
    let began = Instant::now();
    let waiting = Mutex::new(pieces(days as f64, from));
    let by_part = PARTS.iter().map(|_| Sums::new()).collect();
    let answers = Answers { by_part, hashes: BTreeMap::new(), took: 0.0, failed: 0 };
    let answers = Mutex::new(answers);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics with it").pop_front();
                    let Some(piece) = next else { return };
                    let answer = simulate(&piece);
                    let mut answers = answers.lock().expect("nobody panics with it");
                    match answer {
                        Ok((sums, hash)) => {
                            add(&mut answers.by_part[piece.part], &sums);
                            answers.hashes.insert(piece.from, hash);
                        }
                        Err(sentence) => {
                            println!("{sentence}");
                            answers.failed += 1;
                        }
                    }
                }
            });
        }
    });
    let mut answers = answers.into_inner().expect("nobody panics with it");
    answers.took = began.elapsed().as_secs_f64();
    Ok(answers)
}

/// The longest first, so that no core ends with a long one alone.
fn pieces(days: f64, from: u64) -> VecDeque<Piece> {
    let mut all = Vec::new();
    for (part, Part { share, .. }) in PARTS.iter().enumerate() {
        let days = days * *share as f64 / SHARES as f64;
        let count = (days / PIECE_DAYS).ceil().max(1.0);
        for _ in 0..count as u64 {
            let from = from + all.len() as u64 * SEEDS_APART;
            all.push(Piece { part, from, days: days / count });
        }
    }
    all.sort_by(|one, other| other.days.total_cmp(&one.days));
    all.into()
}

/// Runs a piece in a process of its own: its figures, and the hash of all that happened.
fn simulate(piece: &Piece) -> Result<(Sums, String), String> {
    let Part { world, profile, nodes, .. } = &PARTS[piece.part];
    let words = [
        ("--world", world.to_string()),
        ("--profile", profile.to_string()),
        ("--nodes", nodes.to_string()),
        ("--from", piece.from.to_string()),
        ("--days", piece.days.to_string()),
    ];
    let mut command = Command::new(crate::target().join("release/muslin-sim"));
    command.args(words.iter().flat_map(|(name, value)| [*name, value.as_str()]));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let answer = command.output().map_err(|error| format!("cannot run muslin-sim: {error}"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    text.lines().filter(|line| is_telling(line)).for_each(|line| println!("{line}"));
    let hash = text.rsplit_once("all=").map(|(_, hash)| hash.trim().to_string());
    hash.map(|hash| (read(&text), hash)).ok_or_else(|| format!("{words:?}: {text}"))
}

fn is_telling(line: &str) -> bool {
    line.starts_with("violation") || line.starts_with("replay")
}

/// Every `name=number` of the last two lines, which are the summary.
fn read(text: &str) -> Sums {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().rev().take(2).flat_map(|line| line.split_whitespace());
    last.filter_map(|word| word.split_once('='))
        .filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?)))
        .collect()
}

fn add(sums: &mut Sums, more: &Sums) {
    for (name, value) in more {
        *sums.entry(name.clone()).or_default() += value;
    }
}

fn report(answers: &Answers) -> Result<(), String> {
    let (took, failed) = (answers.took, answers.failed);
    let mut all = Sums::new();
    println!(
        "{:<6} {:<7} {:>5} {:>9} {:>9} {:>13} {:>10} {:>9} {:>9} {:>8} {:>9}",
        "world",
        "profile",
        "nodes",
        "days",
        "seeds",
        "events",
        "ops",
        "faults",
        "elections",
        "x/core",
        "violated"
    );
    for (part, sums) in PARTS.iter().zip(&answers.by_part) {
        let of = |name: &str| sums.get(name).copied().unwrap_or_default();
        println!(
            "{:<6} {:<7} {:>5} {:>9.2} {:>9} {:>13} {:>10} {:>9} {:>9} {:>8.0} {:>9}",
            part.world,
            part.profile,
            part.nodes,
            of("simulated_s") / 86_400.0,
            of("seeds"),
            of("events"),
            of("acked") + of("reads"),
            of("faults"),
            of("terms"),
            of("simulated_s") / of("core_s").max(0.1),
            of("violations")
        );
        add(&mut all, sums);
    }
    let of = |name: &str| all.get(name).copied().unwrap_or_default();
    let violations = of("violations");
    println!(
        "simulated_days={:.1} seeds={} events={} writes={} reads={} faults={} crashes={} \
         elections={} took_s={took:.0} x_real_time={:.0} x_core={:.0} violations={violations}",
        of("simulated_s") / 86_400.0,
        of("seeds"),
        of("events"),
        of("acked"),
        of("reads"),
        of("faults"),
        of("crashes"),
        of("terms"),
        of("simulated_s") / took.max(0.1),
        of("simulated_s") / of("core_s").max(0.1),
    );
    match (violations, failed) {
        (0.0, 0) => Ok(()),
        _ => Err(format!("{violations} violations, {failed} processes without an answer")),
    }
}
