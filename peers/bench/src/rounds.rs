//! The engines in turn, several times over.

use crate::harness::disk::Yardstick;
use crate::harness::proposers::Load;
use crate::{Arguments, Mode, openraft_engine, raft_rs_engine, table};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// As docs/design/disk.md has it: the header of a record, and where records begin.
const RECORD_HEADER_BYTES: usize = 40;
const RECORD_ALIGN: usize = 8;

type Engine = fn(&Arguments, bool, Load) -> Result<Value, String>;

/// One engine at one size: what each of its runs told.
pub(crate) struct Runs {
    pub(crate) mode: &'static str,
    pub(crate) proposers: usize,
    pub(crate) documents: Vec<Value>,
}

/// Runs everything that was asked for and prints it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let mut engines: Vec<Engine> = vec![openraft, raft_rs];
    if arguments.muslin.is_some() {
        engines.insert(0, muslin);
    }
    let mut rows = Vec::new();
    for is_durable in [false, true] {
        let unasked = if is_durable { Mode::Memory } else { Mode::Durable };
        if arguments.mode == unasked {
            continue;
        }
        for proposers in &arguments.proposers {
            let load = Load {
                proposers: (*proposers).max(1),
                payload_bytes: arguments.payload_bytes,
                length: Duration::from_secs(arguments.seconds.max(1)),
            };
            let mode = if is_durable { "durable" } else { "memory" };
            eprintln!("{mode}, {} proposers", load.proposers);
            rows.extend(compare(arguments, &engines, (mode, load))?);
        }
    }
    eprint!("{}", table::of(&rows));
    Ok(())
}

/// One size: every engine once, then every engine again, and so on.
fn compare(
    arguments: &Arguments,
    engines: &[Engine],
    (mode, load): (&'static str, Load),
) -> Result<Vec<Runs>, String> {
    let empty = || Runs { mode, proposers: load.proposers, documents: Vec::new() };
    let mut rows: Vec<Runs> = engines.iter().map(|_| empty()).collect();
    for _ in 0..arguments.rounds.max(1) {
        for (engine, row) in engines.iter().zip(&mut rows) {
            let document = engine(arguments, mode == "durable", load)?;
            if arguments.json {
                println!("{document}");
            }
            row.documents.push(document);
        }
    }
    Ok(rows)
}

/// Ours: the program as it is shipped.
fn muslin(arguments: &Arguments, is_durable: bool, load: Load) -> Result<Value, String> {
    let program = arguments.muslin.as_deref().unwrap_or(Path::new("muslin"));
    let mut command = Command::new(program);
    command.args(["bench", "raft", "-o", "json"]).stderr(Stdio::inherit());
    command.args(["--mode", if is_durable { "durable" } else { "memory" }]);
    command.args(["--proposers", &load.proposers.to_string()]);
    command.args(["--seconds", &load.length.as_secs().to_string()]);
    command.args(["--payload-bytes", &load.payload_bytes.to_string()]);
    if let Some(dir) = &arguments.dir {
        command.arg("--dir").arg(dir);
    }
    let answer = command.output().map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    let documents: Value = serde_json::from_slice(&answer.stdout).map_err(|e| e.to_string())?;
    documents.get(0).cloned().ok_or("muslin printed no figures".to_string())
}

fn openraft(arguments: &Arguments, is_durable: bool, load: Load) -> Result<Value, String> {
    other(arguments, is_durable, load, openraft_engine::run)
}

fn raft_rs(arguments: &Arguments, is_durable: bool, load: Load) -> Result<Value, String> {
    other(arguments, is_durable, load, raft_rs_engine::run)
}

type Runner = fn(Load, Option<&Path>) -> Result<crate::harness::figures::Figures, String>;

/// One of the others, with the same measurement of the disk around it as ours has.
fn other(
    arguments: &Arguments,
    is_durable: bool,
    load: Load,
    run: Runner,
) -> Result<Value, String> {
    if !is_durable {
        return Ok(run(load, None)?.json());
    }
    let scratch = Scratch::new(arguments.dir.as_deref()).map_err(|error| error.to_string())?;
    let record = (RECORD_HEADER_BYTES + load.payload_bytes).next_multiple_of(RECORD_ALIGN);
    let yardstick = Yardstick::new(&scratch.0, load.proposers * record);
    let mut yardstick = yardstick.map_err(|error| error.to_string())?;
    yardstick.measure().map_err(|error| error.to_string())?;
    let figures = run(load, Some(&scratch.0))?;
    yardstick.measure().map_err(|error| error.to_string())?;
    let figures = crate::harness::figures::Figures {
        mode: "durable",
        syncs: Some(yardstick.syncs()),
        ..figures
    };
    Ok(figures.json())
}

/// A directory that goes when the run ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: Option<&Path>) -> std::io::Result<Scratch> {
        let parent = dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let path = parent.join(format!("peers-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is found by its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
