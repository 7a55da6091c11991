//! Ten thousand watches of one prefix beside a thousand puts a second: none is told too little, and
//! nobody who writes waits much longer for it.

use crate::cluster::Cluster;
use crate::{json, process};

/// How many times as long as without watches the slowest hundredth of puts may take.
const RATIO_MAX: f64 = 2.0;

/// Megabytes that the largest node may take, with ten thousand watches and one that is not read.
const PEAK_MB_MAX: f64 = 400.0;

/// Measures it, and says what it came to. `arguments` go to `muslin bench watchers`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    process::run(&mut process::cargo(&["build", "--release", "-p", "muslin-cli"]))?;
    let binary = crate::target().join("release/muslin");
    let cluster = Cluster::start(&binary, "watchers")?;
    let pids: Vec<String> = cluster.pids.iter().map(u32::to_string).collect();
    let (endpoints, pids) = (cluster.etcd.join(","), pids.join(","));
    let line = ["bench", "watchers", "--asleep", "-o", "json", "--endpoints", &endpoints];
    let mut command = process::command(&binary, &line);
    command.args(["--pids", &pids]).args(arguments);
    let told = process::output(&mut command)?;
    println!("{told}");
    judge(&told)
}

fn judge(told: &str) -> Result<(), String> {
    let number = |name: &str| json::number(told, name).ok_or(format!("no {name} was told"));
    let watched = told.split_once("\"watched\":").map_or("", |(_, rest)| rest);
    let peaks = json::numbers(watched, "server_peak_bytes").ok_or("no peak was told")?;
    let peak = peaks.into_iter().fold(0.0, f64::max) / 1e6;
    let (lost, disordered) = (number("lost")?, number("disordered")?);
    let (events, ratio) = (number("events")?, number("p99_ratio")?);
    println!(
        "{events} events told, {lost} lost, {disordered} out of order or twice; p99 of puts \
         {ratio:.2} times that without watches; the largest node took {peak:.0} MB"
    );
    let woken = told.split_once("\"asleep\":").map_or("", |(_, rest)| rest);
    let from =
        json::number(woken, "from").ok_or("the watch that was not read was not cancelled")?;
    println!("the watch that was not read was cancelled, and went on from revision {from}");
    if lost + disordered > 0.0 || !woken.contains("\"complete\":true") {
        return Err("watches were not told everything".to_string());
    }
    match (ratio <= RATIO_MAX, peak <= PEAK_MB_MAX) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("puts wait {ratio:.2} times as long, not {RATIO_MAX}")),
        (_, false) => Err(format!("a node takes {peak:.0} MB, not {PEAK_MB_MAX}")),
    }
}
