//! `membership`: what membership promises, shown with real processes, each on a machine (network
//! namespace) of its own. Run it with `cargo xtask membership`.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`scene`] | a network, and nodes on it |
//! | [`ask`] | questions over HTTP, from inside a machine |
//! | [`follow`] | the events of every node, with the time at which each came |
//! | [`wire`] | datagrams, recorded and sent |
//! | [`stranger`] | callers without a certificate, or with a wrong one |
//! | [`scenarios`] | what is shown |
//!
//! Namespaces are made inside a mount namespace of this process and nodes die with their parent:
//! nothing is left, however it ends.

mod ask;
mod follow;
mod scenarios;
mod scene;
mod stranger;
mod wire;

use chaos::stage::{check_network_tools, seclude};
use scenarios::{SCENARIOS, Scenario};
use scene::Plan;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A scenario that takes longer hangs. The longest looks at cut cables for two minutes.
const SCENARIO_MAX: Duration = Duration::from_secs(420);

/// Workers that join at once, unless said otherwise.
const CROWD: usize = 30;

/// Machines have addresses of one byte, and three are control nodes.
const CROWD_MAX: usize = 250;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match prepare(&arguments).map(|(plan, chosen)| run(&plan, &chosen)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("membership: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let names: Vec<String> =
        SCENARIOS.iter().map(|one| format!("  {:<14} {}", one.name, one.claim)).collect();
    let line = "membership --binary MUSLIN --work-dir DIR [--only NAME].. [--crowd N]";
    format!("{line}\n\n{}\n", names.join("\n"))
}

fn prepare(arguments: &[String]) -> Result<(Plan, Vec<&'static Scenario>), String> {
    let mut plan = Plan { binary: PathBuf::new(), directory: PathBuf::new(), crowd: CROWD };
    let mut chosen = Vec::new();
    let mut words = arguments.iter();
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(usage)?;
        match flag.as_str() {
            "--binary" => plan.binary = PathBuf::from(value),
            "--crowd" => {
                let fits = value.parse().ok().filter(|number| (1..=CROWD_MAX).contains(number));
                plan.crowd = fits.ok_or_else(|| format!("a crowd has 1 to {CROWD_MAX} workers"))?;
            }
            "--work-dir" => plan.directory = PathBuf::from(value),
            "--only" => {
                let found = SCENARIOS.iter().find(|one| one.name == value);
                chosen.push(found.ok_or_else(|| format!("no scenario `{value}`\n\n{}", usage()))?);
            }
            _ => return Err(usage()),
        }
    }
    if plan.binary.as_os_str().is_empty() || plan.directory.as_os_str().is_empty() {
        return Err(usage());
    }
    if chosen.is_empty() {
        chosen = SCENARIOS.iter().collect();
    }
    check_network_tools()?;
    // Before any thread: it is of the whole process.
    seclude()?;
    Ok((plan, chosen))
}

/// Runs one after the other; whether all went well.
fn run(plan: &Plan, chosen: &[&'static Scenario]) -> bool {
    let beats = watch_over();
    let mut ok = 0;
    for scenario in chosen {
        println!("\n{}: {}", scenario.name, scenario.claim);
        let began = Instant::now();
        // The one that watches has ended the process if it is gone.
        let _ = beats.send(scenario.name);
        let directory = plan.directory.join(scenario.name);
        let here = Plan { directory: directory.clone(), ..plan.clone() };
        let answer = (scenario.run)(&here);
        let seconds = began.elapsed().as_secs();
        match answer {
            Ok(()) => {
                println!("{} ok ({seconds} s)", scenario.name);
                ok += 1;
                let _ = std::fs::remove_dir_all(&directory);
            }
            Err(why) => {
                println!("{} FAILED {why} ({seconds} s; logs: {directory:?})", scenario.name);
            }
        }
    }
    if ok == chosen.len() {
        let _ = std::fs::remove_dir_all(&plan.directory);
    }
    println!("\nscenarios={} ok={ok} failed={}", chosen.len(), chosen.len() - ok);
    ok == chosen.len()
}

/// Ends the process when a scenario takes too long; namespaces and nodes end with it.
fn watch_over() -> Sender<&'static str> {
    let (sender, beats) = channel();
    std::thread::spawn(move || {
        let mut name = "";
        loop {
            match beats.recv_timeout(SCENARIO_MAX) {
                Ok(next) => name = next,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    println!("{name} FAILED not over after {} s", SCENARIO_MAX.as_secs());
                    std::process::exit(1);
                }
            }
        }
    });
    sender
}
