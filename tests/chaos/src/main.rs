//! `chaos`: see the library. Run it with `cargo xtask chaos`.

use chaos::campaign::{self, Options, Report};
use chaos::fault::Kind;
use chaos::stage::{Plan, check_tools, seclude};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const USAGE: &str = "\
chaos --binary MUSLIN --work-dir DIR --minutes N [--seed S] [--nodes K] [--kinds A,B,..]

  --minutes N    how long faults go on
  --seed S       which faults, in which order (default 1)
  --nodes K      how many nodes (default 3)
  --kinds A,B    only these faults; `-A` leaves one out
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match prepare(&arguments).and_then(|options| judge(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("chaos: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(arguments: &[String]) -> Result<Options, String> {
    let options = parse(arguments)?;
    check_tools()?;
    // Before any thread: it is of the whole process.
    seclude()?;
    Ok(options)
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut minutes = None;
    let mut options = Options {
        length: Duration::ZERO,
        seed: 1,
        kinds: Vec::new(),
        plan: Plan { binary: PathBuf::new(), directory: PathBuf::new(), nodes: 3 },
    };
    let mut kinds = None;
    let mut words = arguments.iter();
    while let Some(flag) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        let wrong = |_| format!("{flag} does not take `{value}`\n\n{USAGE}");
        match flag.as_str() {
            "--minutes" => minutes = Some(value.parse::<u32>().map_err(wrong)?),
            "--seed" => options.seed = value.parse().map_err(wrong)?,
            "--nodes" => options.plan.nodes = value.parse().map_err(wrong)?,
            "--kinds" => kinds = Some(value.as_str()),
            "--binary" => options.plan.binary = PathBuf::from(value),
            "--work-dir" => options.plan.directory = PathBuf::from(value),
            _ => return Err(USAGE.to_string()),
        }
    }
    let minutes = minutes.filter(|minutes| *minutes > 0).ok_or(USAGE)?;
    options.length = Duration::from_secs(u64::from(minutes) * 60);
    let nodes = options.plan.nodes;
    if !(3..=9).contains(&nodes) {
        return Err("a run has 3 to 9 nodes".to_string());
    }
    options.kinds = choose(kinds.unwrap_or_default(), Kind::usual(nodes))?;
    Ok(options)
}

/// The kinds asked for; `-A` takes one from the usual ones.
fn choose(words: &str, usual: Vec<Kind>) -> Result<Vec<Kind>, String> {
    let named = |word: &str| {
        let names: Vec<&str> = Kind::ALL.iter().map(|(_, name)| *name).collect();
        Kind::named(word).ok_or_else(|| format!("no fault `{word}`; there are {}", names.join(" ")))
    };
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let mut only = Vec::new();
    let mut without = Vec::new();
    for word in words {
        match word.strip_prefix('-') {
            Some(word) => without.push(named(word)?),
            None => only.push(named(word)?),
        }
    }
    let mut kinds = if only.is_empty() { usual } else { only };
    kinds.retain(|kind| !without.contains(kind));
    Ok(kinds)
}

/// Runs, and says what came of it; whether all was well.
fn judge(options: &Options) -> Result<bool, String> {
    let stop = Arc::new(AtomicBool::new(false));
    raise_on_signal(stop.clone())?;
    let report = campaign::run(options, &stop)?;
    let Report { figures, verdict, .. } = &report;
    println!("\n{figures}");
    println!(
        "{} revisions, {} changes told to watchers, {} calls of unknown outcome that took effect",
        verdict.revisions, verdict.told, verdict.unknown_done
    );
    let locks = verdict.locks;
    println!(
        "{} locks had, {} writes under a fence done, {} with an old one: {} refused; {} items done",
        locks.had,
        locks.written,
        locks.refused + locks.broken,
        locks.refused,
        verdict.done
    );
    let anomalies = verdict.findings.count();
    if anomalies > 0 {
        let place = options.plan.directory.join("history");
        keep(&report, &place)?;
        println!("\n{}\nhistory and logs: {}", verdict.findings, options.plan.directory.display());
    }
    println!(
        "faults={} kinds={} ops={} unknown={} anomalies={anomalies}",
        figures.faults(),
        figures.kinds(),
        verdict.ops,
        verdict.unknown,
    );
    Ok(anomalies == 0)
}

/// Writes the history down, one thing to a line.
fn keep(report: &Report, place: &Path) -> Result<(), String> {
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(place)?);
        let history = &report.history;
        for op in &history.ops {
            writeln!(file, "{op:?}")?;
        }
        for watch in &history.watches {
            let (watcher, node, from) = (watch.watcher, watch.node, watch.from);
            writeln!(file, "Watch {watcher} n{} from {from} {:?}", node + 1, watch.compacted)?;
            for change in &watch.changes {
                writeln!(file, "  {change:?}")?;
            }
        }
        for lease in &history.leases {
            writeln!(file, "{lease:?}")?;
        }
        for hold in &history.holds {
            writeln!(file, "{hold:?}")?;
        }
        for work in &history.work {
            writeln!(file, "{work:?}")?;
        }
        for (number, name) in history.names.iter().enumerate() {
            writeln!(file, "foreign/{number:06} is {}", name.escape_ascii())?;
        }
        for dump in &history.dumps {
            writeln!(file, "{dump:?}")?;
        }
        file.flush()
    };
    write().map_err(|e| format!("cannot write {place:?}: {e}"))
}

/// A person's Ctrl-C, or an order to end, ends the run in an orderly way.
fn raise_on_signal(stop: Arc<AtomicBool>) -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let caught = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
                .map(signal);
            let [Ok(mut one), Ok(mut two), Ok(mut three)] = caught else { return };
            tokio::select! {
                _ = one.recv() => {}
                _ = two.recv() => {}
                _ = three.recv() => {}
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
    Ok(())
}
