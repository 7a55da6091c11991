//! What is measured on one cluster, from its start to its end.

use super::options::Options;
use super::rows::{ROWS, Row, Stage};
use super::servers::Servers;
use crate::{json, outage, process};
use std::path::Path;
use std::time::Duration;

/// How long nodes are left alone before their memory is read.
const IDLE: Duration = Duration::from_secs(8);

/// And after they were filled.
const REST: Duration = Duration::from_secs(4);

/// Seconds of writing around a failure: the slowest takes some to elect.
const OUTAGE: u64 = 7;

/// Keys of a lightly written store, which is what reads are measured on: etcd before 3.5 answers
/// more slowly the more was ever written.
const FEW_KEYS: &str = "1000";

/// Keys that memory is measured with.
const MANY_KEYS: &str = "100000";

/// Keys that puts go to.
const PUT_KEYS: &str = "10000";

/// A figure of a row.
pub(super) type Figure = (&'static str, f64);

/// One turn of one side.
pub(super) struct Turn<'a> {
    pub(super) options: &'a Options,
    pub(super) binary: &'a Path,
    pub(super) servers: Servers,
}

impl Turn<'_> {
    /// Measures the rows of a stage that are wanted.
    pub(super) fn measure(&mut self, stage: Stage) -> Result<Vec<Figure>, String> {
        match stage {
            Stage::Reads => self.reads(),
            Stage::Writes => self.writes(),
            Stage::Streams => self.streams(),
            Stage::Memory => self.memory(),
            Stage::Failures => self.failures(),
        }
    }

    fn wants(&self, name: &str) -> bool {
        let is_it = |row: &&Row| row.name == name;
        ROWS.iter().find(is_it).is_some_and(|row| self.options.wants(row))
    }

    /// Figures of those of the rows that are wanted.
    fn rates(&self, rows: &[(&'static str, &[&str])]) -> Result<Vec<Figure>, String> {
        let wanted = rows.iter().filter(|(name, _)| self.wants(name));
        wanted.map(|(name, line)| Ok((*name, rate(&self.load(line)?)?))).collect()
    }

    fn reads(&self) -> Result<Vec<Figure>, String> {
        let linearizable =
            ["--workload", "linearizable", "--clients", "64", "--keys", FEW_KEYS].as_slice();
        let serializable =
            ["--workload", "serializable", "--clients", "256", "--keys", FEW_KEYS].as_slice();
        self.rates(&[("read-64", linearizable), ("stale-256", serializable)])
    }

    fn writes(&self) -> Result<Vec<Figure>, String> {
        let put = |clients| ["--workload", "put", "--clients", clients, "--keys", PUT_KEYS];
        let mut figures = self.rates(&[("put-1", &put("1")), ("put-64", &put("64"))])?;
        if self.wants("put-256") || self.wants("put-cpu") {
            let told = self.load(&put("256"))?;
            let cpu = json::number(&told, "server_cpu_seconds_per_1000");
            let cpu = cpu.ok_or_else(|| format!("no processor time in {told}"))?;
            figures.extend([("put-256", rate(&told)?), ("put-cpu", cpu * 1e3)]);
        }
        let mix = ["--workload", "mix", "--clients", "256", "--keys", PUT_KEYS].as_slice();
        figures.extend(self.rates(&[("mix-256", mix)])?);
        Ok(figures)
    }

    fn streams(&self) -> Result<Vec<Figure>, String> {
        let mut figures = Vec::new();
        if self.wants("watch") {
            let line = ["--workload", "watch", "--clients", "16", "--watchers", "100"];
            let told = self.load(&line)?;
            // Fields stand in the order of their names, so a run's name is behind its figures, and
            // what is behind the name of the first run is the second: the watchers'.
            let events = told.split_once("watch: puts").map_or("", |(_, rest)| rest);
            let p99 = json::number(events, "p99_ms").ok_or_else(|| format!("no p99 in {told}"))?;
            figures.push(("watch", p99));
        }
        let line = |workload| ["--workload", workload, "--clients", "64"];
        let rows = [("lease", &line("lease")[..]), ("keep-alive", &line("keep-alive")[..])];
        figures.extend(self.rates(&rows)?);
        Ok(figures)
    }

    fn memory(&self) -> Result<Vec<Figure>, String> {
        std::thread::sleep(IDLE);
        let mut figures = vec![
            ("idle", self.mean_of_nodes(process::resident_mb)?),
            ("idle-own", self.mean_of_nodes(process::own_mb)?),
        ];
        if ["loaded", "loaded-own", "loaded-peak"].into_iter().any(|row| self.wants(row)) {
            let told =
                self.load(&["--workload", "fill", "--clients", "64", "--keys", MANY_KEYS])?;
            let peaks = json::numbers(&told, "server_peak_bytes");
            let peaks = peaks.ok_or_else(|| format!("no memory in {told}"))?;
            std::thread::sleep(REST);
            figures.push(("loaded", self.mean_of_nodes(process::resident_mb)?));
            figures.push(("loaded-own", self.mean_of_nodes(process::own_mb)?));
            figures.push(("loaded-peak", mean(&peaks) / 1e6));
        }
        Ok(figures)
    }

    fn failures(&mut self) -> Result<Vec<Figure>, String> {
        let mut figures = Vec::new();
        for _ in 0..self.options.kills {
            for (row, signal) in [("kill", "KILL"), ("stop", "TERM")] {
                if self.wants(row) {
                    let ms = outage::leader_ms(&mut self.servers, self.binary, signal, OUTAGE)?;
                    figures.push((row, ms));
                }
            }
            if self.wants("kill-all") {
                let ms = outage::all_killed_ms(&mut self.servers, self.binary, OUTAGE)?;
                figures.push(("kill-all", ms));
            }
        }
        Ok(figures)
    }

    fn mean_of_nodes(&self, of: fn(u32) -> Result<f64, String>) -> Result<f64, String> {
        let all: Result<Vec<f64>, String> = self.servers.pids().into_iter().map(of).collect();
        Ok(mean(&all?))
    }

    /// Runs a load; what the program told.
    fn load(&self, line: &[&str]) -> Result<String, String> {
        let endpoints = self.servers.endpoints().join(",");
        let pids: Vec<String> = self.servers.pids().iter().map(u32::to_string).collect();
        let (pids, seconds) = (pids.join(","), self.options.seconds.to_string());
        let mut command = process::command(self.binary, &["bench", "kv", "-o", "json"]);
        command.args(["--endpoints", &endpoints, "--pids", &pids, "--seconds", &seconds]);
        process::output(command.args(line))
    }
}

fn rate(told: &str) -> Result<f64, String> {
    let errors = json::number(told, "errors").unwrap_or_default();
    if errors > 0.0 {
        eprintln!("{errors} errors: {}", told.trim());
    }
    json::number(told, "ops_per_second").ok_or_else(|| format!("no rate in {told}"))
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len().max(1) as f64
}
