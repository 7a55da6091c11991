//! `docs/performance.md`, from what was measured and nothing else.

use super::options::Options;
use super::table::{Samples, number};
use crate::process;
use std::fmt::Write;
use std::path::Path;

/// The machine, and how busy it was.
pub(super) struct Surroundings {
    date: String,
    load: String,
}

impl Surroundings {
    /// As it is now.
    pub(super) fn look() -> Surroundings {
        Surroundings { date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]), load: load() }
    }
}

/// Load averages of one, five and fifteen minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// What a program says in its first line.
fn said(program: &str, arguments: &[&str]) -> String {
    let answer = process::output(&mut process::command(program, arguments));
    let first = answer.ok().and_then(|text| text.lines().next().map(str::to_string));
    first.unwrap_or_else(|| format!("({program} does not say)"))
}

fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or("unknown".to_string(), |(_, value)| value.trim().to_string())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes: f64 = field("/proc/meminfo", "MemTotal")
        .split_whitespace()
        .next()
        .and_then(|kb| kb.parse().ok())
        .unwrap_or_default();
    let system = field_of_release();
    format!(
        "{cores} cores ({}), {} GiB, Linux {}, {system}",
        field("/proc/cpuinfo", "model name"),
        number((kilobytes / 1024.0 / 1024.0).round()).trim_end_matches(".0"),
        said("uname", &["-r"]),
    )
}

fn field_of_release() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown system").trim_matches('"').to_string()
}

/// The whole page.
pub(super) fn text(
    options: &Options,
    samples: &Samples,
    before: &Surroundings,
    binary: &Path,
) -> Result<String, String> {
    let mut page = String::from(HEAD);
    let mut line = |text: String| writeln!(page, "{text}").map_err(|error| error.to_string());
    let muslin = process::output(&mut process::command(binary, &["version"]))?;
    let muslin = muslin.split_whitespace().collect::<Vec<_>>().join(" ");
    line("| | |\n| --- | --- |".to_string())?;
    for (name, value) in [
        ("date", before.date.clone()),
        ("machine", machine()),
        ("etcd", said("etcd", &["--version"])),
        ("muslin", format!("{muslin}, commit {}", said("git", &["rev-parse", "--short", "HEAD"]))),
        ("load average before, after", format!("{}, {}", before.load, load())),
        ("command", format!("`{}`", options.line)),
        ("rounds, seconds of a load", format!("{}, {}", options.rounds, options.seconds)),
    ] {
        line(format!("| {name} | {value} |"))?;
    }
    line(busy(&before.load))?;
    line(TABLE.to_string())?;
    for judged in samples.rows(options) {
        let row = judged.row;
        line(format!(
            "| `{}` | {}, {} | {} | {} | {:.2} | {} | {} |",
            row.name,
            row.what,
            row.unit,
            judged.etcd.words(),
            judged.muslin.words(),
            judged.ratio(),
            row.asked.words(row.unit),
            judged.verdict(),
        ))?;
    }
    line(HOW.to_string())?;
    Ok(page)
}

/// What follows from that.
const BUSY: &str = " before\nanything of this was started. Both sides can do far more alone.";

/// A sentence where other work took more than there was to give.
fn busy(load: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let first: f64 = load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or_default();
    match first > cores as f64 {
        true => {
            format!("\nThe machine was busy: a load average of {first:.1} on {cores} cores{BUSY}")
        }
        false => String::new(),
    }
}

const HEAD: &str = "\
# Performance beside etcd

Written by `cargo xtask compare-etcd`. Both sides and the load generator share the machine: ratios
count, absolute figures do not, and where the load average before the run is above one, other work
took part of both.

";

const TABLE: &str = "
Medians; in brackets the least and the most where there was more than one. `MISSED` is what is not
as asked.

| row | what | etcd | muslin | ratio | asked | |
| --- | --- | --- | --- | --- | --- | --- |";

const HOW: &str = "
## How it is measured

Three nodes of one side at a time, etcd and muslin in turn, each turn in fresh directories on the
same disk; etcd with its defaults, muslin as `muslin dev` starts it (fsync on, certificates between
nodes), built as it is installed (profile `dist`). The generator is `muslin bench kv` for both: one
connection for each client, one request at a time on it, values of 128 bytes, spread over all three
nodes, after a second that does not count.
Each answer is looked at: a read that finds anything but what was written, or an acknowledgement
without a later revision, ends the comparison.

- Puts and the mix (one put in ten calls, linearizable reads) go to 10,000 keys. Processor time is
  that of the three servers, from `/proc`; the generator's own is not in it.
- Reads are of a store of 1,000 keys written once: etcd before 3.5 answers more slowly the more was
  ever written.
- `watch`: 100 streams watch all keys while 1,000 puts a second are made; from sending a put to each
  watcher's having its event, 99th percentile.
- `kill`, `stop`: the leader gets SIGKILL or SIGTERM while `muslin bench outage` starts a put at
  each node every 2 ms; the longest time behind the signal in which nothing is acknowledged.
  `kill-all`: all nodes are killed and started again; from starting them to the first acknowledged
  put.
- Memory is the mean of the nodes' resident memory, eight seconds behind the start, and four seconds
  behind the last of 100,000 keys of 128 bytes; the peak is the kernel's own count. Pages of the
  program's file are in it as often as there are nodes, although the machine has them once; without
  them and without other files is what is a node's own (`RssAnon`).";

#[cfg(test)]
mod tests {
    use super::super::servers::Side;
    use super::*;

    #[test]
    fn the_page_has_the_figures_and_where_they_come_from() {
        let options = Options::parse(&["--quick".to_string()]).unwrap();
        let mut samples = Samples::default();
        samples.add("put-1", Side::Etcd, 1_000.0);
        samples.add("put-1", Side::Muslin, 1_500.0);
        let before = Surroundings { date: "today".to_string(), load: "9999 9 9".to_string() };
        let page = text(&options, &samples, &before, Path::new("echo")).unwrap();
        let row = "| `put-1` | puts, 1 client, /s | 1,000 | 1,500 | 1.50 | >= 1.6 x | MISSED |";
        assert!(page.contains(row), "{page}");
        for part in [
            "today",
            "9999 9 9, ",
            "The machine was busy",
            "`cargo xtask compare-etcd --quick`",
            "# Performance",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("`put-64`"), "what was not measured is not told");
    }
}
