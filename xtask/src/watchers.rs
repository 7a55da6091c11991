//! Ten thousand watches of one prefix beside a thousand puts a second: none is told too little, and
//! nobody who writes waits much longer for it.

use crate::cluster::Cluster;
use crate::{json, process};

/// How many times as long as without watches the slowest hundredth of puts may take.
const RATIO_MAX: f64 = 2.0;

/// Of the puts that are to be made, so many must be answered: what is not made is not measured.
const RATE_MIN: f64 = 0.95;

/// Megabytes that the largest node may take, with ten thousand watches and those that are not read.
const PEAK_MB_MAX: f64 = 400.0;

/// Watches that are not read.
const ASLEEP: &str = "10";

/// Measures it, and says of each demand what came of it. `arguments` go to `muslin bench watchers`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let binary = process::built_program()?;
    let cluster = Cluster::start(&binary, "watchers")?;
    let pids: Vec<String> = cluster.pids.iter().map(u32::to_string).collect();
    let (endpoints, pids) = (cluster.etcd.join(","), pids.join(","));
    let mut command = process::command(&binary, &["bench", "watchers", "-o", "json"]);
    command.args(["--endpoints", &endpoints, "--pids", &pids]);
    if !arguments.iter().any(|argument| argument.starts_with("--asleep")) {
        command.args(["--asleep", ASLEEP]);
    }
    let told = process::output(command.args(arguments))?;
    println!("{told}");
    let demands = judge(&told)?;
    demands.iter().for_each(|demand| println!("{}", demand.line()));
    match demands.iter().filter(|demand| !demand.holds).count() {
        0 => Ok(()),
        missed => Err(format!("{missed} of {} demands are not met", demands.len())),
    }
}

/// What is asked, and what came of it.
#[derive(Debug)]
struct Demand {
    holds: bool,
    what: String,
}

impl Demand {
    fn line(&self) -> String {
        format!("{}  {}", if self.holds { "ok    " } else { "MISSED" }, self.what)
    }
}

fn judge(told: &str) -> Result<Vec<Demand>, String> {
    let number = |json: &str, name: &str| {
        json::number(json, name).ok_or_else(|| format!("no {name} was told"))
    };
    let part = |name: &str| {
        let part = told.split_once(&format!("\"{name}\":{{")).map(|(_, rest)| rest);
        part.ok_or_else(|| format!("no {name} was told"))
    };
    let (alone, watched, asleep) = (part("alone")?, part("watched")?, part("asleep")?);
    let demand = |holds, what| Demand { holds, what };
    let (watchers, events) = (number(told, "watchers")?, number(told, "events")?);
    let (lost, disordered) = (number(told, "lost")?, number(told, "disordered")?);
    let rate = number(told, "rate")?;
    let rates = [number(alone, "ops_per_second")?, number(watched, "ops_per_second")?];
    let p99s = [number(alone, "p99_ms")?, number(watched, "p99_ms")?];
    let ratio = number(told, "p99_ratio")?;
    let peaks = json::numbers(watched, "server_peak_bytes").ok_or("no peak was told")?;
    let peak = peaks.into_iter().fold(0.0, f64::max) / 1e6;
    let (sleepers, canceled) = (number(asleep, "watches")?, number(asleep, "canceled")?);
    let incomplete = number(asleep, "incomplete")?;
    Ok(vec![
        demand(
            lost == 0.0 && events > 0.0,
            format!("{events} events to {watchers} watches, {lost} lost"),
        ),
        demand(disordered == 0.0, format!("{disordered} out of order or twice")),
        demand(
            rates.iter().all(|one| *one >= RATE_MIN * rate),
            format!("{} puts a second alone, {} beside watches, of {rate}", rates[0], rates[1]),
        ),
        demand(
            ratio <= RATIO_MAX,
            format!(
                "p99 of puts {} ms alone, {} ms beside watches: {ratio} times, {RATIO_MAX} at most",
                p99s[0], p99s[1]
            ),
        ),
        demand(
            peak <= PEAK_MB_MAX,
            format!("the largest node takes {peak:.0} MB, {PEAK_MB_MAX} at most"),
        ),
        demand(
            canceled == sleepers && incomplete == 0.0,
            format!(
                "{canceled} of {sleepers} watches that were not read were cancelled and told from \
                 where to go on; {incomplete} missed events when they did"
            ),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `bench watchers` tells it, with what is not looked at left out.
    fn told(lost: u64, watched: (u64, f64), canceled: u64) -> String {
        let (rate, ratio) = watched;
        format!(
            "{{\"watchers\":9,\"rate\":1000,\"alone\":{{\"ops_per_second\":999.0,\"p99_ms\":3.0,\
             \"server_peak_bytes\":[1]}},\"watched\":{{\"ops_per_second\":{rate}.0,\
             \"p99_ms\":4.5,\"server_peak_bytes\":[1000000,55000000]}},\"delay\":\
             {{\"p99_ms\":100.0}},\"events\":90000,\"lost\":{lost},\"disordered\":0,\
             \"p99_ratio\":{ratio},\"asleep\":{{\"watches\":10,\"canceled\":{canceled},\
             \"incomplete\":0}}}}"
        )
    }

    fn missed(told: &str) -> Vec<usize> {
        let demands = judge(told).unwrap();
        (0..demands.len()).filter(|place| !demands[*place].holds).collect()
    }

    #[test]
    fn each_demand_is_judged_by_itself() {
        assert_eq!(missed(&told(0, (998, 1.5), 10)), [0; 0]);
        assert_eq!(missed(&told(1, (998, 1.5), 10)), [0]);
        assert_eq!(missed(&told(0, (588, 2.1), 10)), [2, 3]);
        assert_eq!(missed(&told(0, (998, 1.5), 9)), [5]);
        assert!(judge("{}").is_err());
        let demands = judge(&told(0, (998, 1.5), 10)).unwrap();
        assert!(demands[4].line().starts_with("ok      the largest node takes 55 MB"));
    }
}
