//! How long nobody can write, measured from outside: `muslin bench outage` beside what is done to
//! the nodes.

use crate::compare::Servers;
use crate::json;
use crate::process;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Puts go on for so long before anything happens.
const BEFORE: Duration = Duration::from_millis(1_500);

/// How long whoever starts nodes again may take to notice that they have ended.
const NOTICE: Duration = Duration::from_secs(1);

/// Puts without pause, in a process of their own.
pub(crate) struct Probe(Child);

impl Probe {
    /// Puts for so many seconds.
    pub(crate) fn start(
        binary: &Path,
        endpoints: &[String],
        seconds: u64,
    ) -> Result<Probe, String> {
        let (endpoints, seconds) = (endpoints.join(","), seconds.to_string());
        let line = ["bench", "outage", "-o", "json", "--seconds", &seconds, "--longer-than", "1"];
        let mut command: Command = process::command(binary, &line);
        command.args(["--endpoints", &endpoints]).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("muslin bench outage: {error}"))?;
        crate::guard::started(child.id());
        Ok(Probe(child))
    }

    /// Waits for its end; what it told.
    pub(crate) fn finish(self) -> Result<String, String> {
        let id = self.0.id();
        let answer = self.0.wait_with_output().map_err(|error| error.to_string())?;
        crate::guard::ended(id);
        match answer.status.success() {
            true => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
            false => Err("muslin bench outage failed".to_string()),
        }
    }
}

/// Milliseconds without an acknowledged put after the leader got a signal, looked at for so many
/// seconds in all; the node is started again before it returns.
pub(crate) fn leader_ms(
    servers: &mut Servers,
    binary: &Path,
    signal: &str,
    seconds: u64,
) -> Result<f64, String> {
    let probe = Probe::start(binary, servers.endpoints(), seconds)?;
    std::thread::sleep(BEFORE);
    let leader = servers.leader()?;
    let moment = unix_us();
    servers.signal(leader, signal)?;
    let told = probe.finish()?;
    servers.restart(&[leader])?;
    servers.settle()?;
    Ok(longest_ms(&told, moment))
}

/// Milliseconds from starting all nodes, which were killed before, to the first acknowledged put.
pub(crate) fn all_killed_ms(
    servers: &mut Servers,
    binary: &Path,
    seconds: u64,
) -> Result<f64, String> {
    let all = [0, 1, 2];
    all.iter().try_for_each(|node| servers.signal(*node, "KILL"))?;
    servers.await_end(&all)?;
    std::thread::sleep(NOTICE);
    let probe = Probe::start(binary, servers.endpoints(), seconds)?;
    let moment = unix_us();
    servers.restart(&all)?;
    let told = probe.finish()?;
    servers.settle()?;
    let first = json::number(&told, "first_unix_us").ok_or("no put was acknowledged again")?;
    Ok((first - moment as f64) / 1e3)
}

/// The longest outage of those that end before a moment.
pub(crate) fn longest_before_ms(told: &str, moment_us: u64) -> f64 {
    let outages = told.split("\"from_unix_us\":").skip(1);
    let lengths = outages.filter_map(|outage| {
        let from: f64 = json::leading(outage)?;
        let ms = json::number(outage, "ms")?;
        (from + ms * 1e3 <= moment_us as f64).then_some(ms)
    });
    lengths.fold(0.0, f64::max)
}

/// The longest outage of those that end behind a moment; what was before it does not count.
pub(crate) fn longest_ms(told: &str, moment_us: u64) -> f64 {
    let outages = told.split("\"from_unix_us\":").skip(1);
    let lengths = outages.filter_map(|outage| {
        let from: f64 = json::leading(outage)?;
        let ms = json::number(outage, "ms")?;
        Some(ms - ((moment_us as f64 - from) / 1e3).max(0.0))
    });
    lengths.fold(0.0, f64::max)
}

/// The machine's clock.
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_from_the_signal_on() {
        let told = r#"{"acknowledged":9,"first_unix_us":1000,"outages":[
            {"from_unix_us":1000,"ms":900.0},{"from_unix_us":1100000,"ms":400.5},
            {"from_unix_us":1900000,"ms":30.0}]}"#;
        assert_eq!(longest_ms(told, 1_200_000), 300.5);
        assert_eq!(longest_ms(told, 1_100_000), 400.5);
        assert_eq!(longest_ms(told, 1_600_000), 30.0);
        assert_eq!(longest_ms(told, 3_000_000), 0.0);
        assert_eq!(longest_ms("{\"outages\":[]}", 0), 0.0);
        assert_eq!(longest_before_ms(told, 1_200_000), 900.0);
        assert_eq!(longest_before_ms(told, 900_000), 0.0);
    }
}
