//! `muslin bench state`: what the key-value state alone can do, and what its keys cost in memory.
//!
//! No consensus, no disk and no network: commands are applied as a node applies them, in one
//! thread. Rates are by processor time, so that what else the machine does matters less.

use super::harness::figures::processor_time;
use crate::args::{BenchState, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use bytes::Bytes;
use muslin_core::base::Index;
use muslin_core::state::{
    Command, CommandKind, Founding, KeyRange, Proposal, Put, Query, Range, State,
};
use prost::Message as _;
use serde_json::json;
use std::time::Duration;

/// Commands that are made before they are measured.
const BATCH: u64 = 10_000;

/// Length of a key.
const KEY_BYTES: u64 = 24;

/// Pairs of a short range.
const SHORT: u64 = 100;

/// Times a range or a count is asked for.
const RANGES: u64 = 2_000;

/// Prime, so that keys come in no order, and each once as long as they are fewer.
const STRIDE: u64 = 2_147_483_647;

/// Page of memory, as the kernel counts them.
const PAGE_BYTES: u64 = 4_096;

/// Measures and prints.
pub(crate) fn run(global: &Global, bench: &BenchState) -> Result<(), Failure> {
    let figures = measure(bench).map_err(|why| Failure::new(Kind::Failed, why))?;
    match global.output {
        Format::Json => {
            let told = figures.iter().map(|(what, unit, number)| {
                json!({ "what": what, "unit": unit, "number": number.round() })
            });
            output::json(&told.collect())
        }
        Format::Table => {
            let mut table = Table::new(&["WHAT", "NUMBER", "UNIT"]);
            for (what, unit, number) in figures {
                table.row([what.to_string(), format!("{number:.0}"), unit.to_string()]);
            }
            table.print()
        }
    }
}

/// What was measured, in which unit, and what came of it.
type Figure = (&'static str, &'static str, f64);

fn measure(bench: &BenchState) -> Result<Vec<Figure>, String> {
    let BenchState { keys, value_bytes } = *bench;
    let load = Load { keys, value_bytes };
    let before = resident_bytes();
    let mut state = State::founded(&Founding::default());
    let fresh = load.put_all(&mut state);
    let used = resident_bytes().saturating_sub(before) as f64 / keys as f64;
    let overwritten = load.put_all(&mut state);
    let one = |number: u64| KeyRange::of_key(key(load.scattered(number)));
    let read = timed(keys, |number| ask(&state, one(number), 0, false));
    let page = |number: u64| KeyRange { key: key(load.scattered(number)), range_end: all_end() };
    let pages = timed(RANGES, |number| ask(&state, page(number), SHORT, false));
    let counts = timed(RANGES, |number| ask(&state, page(number), 0, true));
    let views = timed(RANGES, |_| drop(state.view()));
    let (snapshot, written) = spent(|| state.snapshot());
    let digest = state.digest();
    let (restored, restoring) = spent(|| State::restore(snapshot));
    let is_same = restored.is_ok_and(|restored| restored.digest() == digest);
    if !is_same {
        return Err("the state that was restored is another one (R6)".into());
    }
    let beyond = used - (KEY_BYTES + value_bytes as u64) as f64;
    Ok(vec![
        ("puts of fresh keys in no order", "/s", fresh),
        ("memory of a key beyond key and value", "bytes", beyond),
        ("puts over keys that are there", "/s", overwritten),
        ("reads of one key", "/s", read),
        ("ranges of 100 keys by limit", "/s", pages),
        ("counts of what is behind a key", "/s", counts),
        ("views", "/s", views),
        ("snapshot written", "ms", written.as_secs_f64() * 1e3),
        ("snapshot restored", "ms", restoring.as_secs_f64() * 1e3),
    ])
}

struct Load {
    keys: u64,
    value_bytes: usize,
}

impl Load {
    /// Each key once, in no order.
    fn scattered(&self, number: u64) -> u64 {
        (u128::from(number) * u128::from(STRIDE) % u128::from(self.keys)) as u64
    }

    fn proposal(&self, sequence: u64, number: u64) -> Bytes {
        let value = vec![sequence as u8; self.value_bytes].into();
        let put = Put { key: key(self.scattered(number)), value, ..Put::default() };
        let command = Some(Command { kind: Some(CommandKind::Put(put)) });
        let settled_below = sequence;
        let asker = None;
        let proposal = Proposal { origin: 1, boot: 1, sequence, settled_below, command, asker };
        proposal.encode_to_vec().into()
    }

    /// Puts every key; how many a second.
    fn put_all(&self, state: &mut State) -> f64 {
        let (mut done, mut time) = (0, Duration::ZERO);
        while done < self.keys {
            let first = state.applied().0 + 1;
            let batch = done..(done + BATCH).min(self.keys);
            done = batch.end;
            let proposals: Vec<Bytes> = batch
                .enumerate()
                .map(|(place, number)| self.proposal(first + place as u64, number))
                .collect();
            let ((), took) = spent(|| {
                for (index, proposal) in (first..).zip(proposals) {
                    state.apply(Index(index), proposal);
                }
            });
            time += took;
        }
        rate(self.keys, time)
    }
}

fn key(number: u64) -> Bytes {
    format!("key/{number:020}").into()
}

/// Behind all keys of the load.
fn all_end() -> Bytes {
    Bytes::from_static(b"key0")
}

fn ask(state: &State, range: KeyRange, limit: u64, count_only: bool) {
    let range = Range { range, limit, count_only, ..Range::default() };
    std::hint::black_box(state.query(&Query::Range(range)));
}

/// How often a second it can be done.
fn timed(times: u64, mut ask: impl FnMut(u64)) -> f64 {
    let ((), took) = spent(|| (0..times).for_each(&mut ask));
    rate(times, took)
}

/// Processor time is counted in microseconds: what took none took one at most.
fn rate(times: u64, took: Duration) -> f64 {
    times as f64 / took.max(Duration::from_micros(1)).as_secs_f64()
}

/// What came of it, and the processor time that it took.
fn spent<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = processor_time();
    let done = work();
    (done, processor_time().saturating_sub(before))
}

/// Memory of this process.
fn resident_bytes() -> u64 {
    let counted = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = counted.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_a_small_state_is_a_number() {
        let figures = measure(&BenchState { keys: 500, value_bytes: 16 }).unwrap();
        assert!(figures.len() > 5);
        assert!(figures.iter().all(|(_, _, number)| number.is_finite()), "{figures:?}");
    }

    #[test]
    fn each_key_is_put_once() {
        let load = Load { keys: 1_000, value_bytes: 1 };
        let mut state = State::founded(&Founding::default());
        load.put_all(&mut state);
        assert_eq!(state.keys(), 1_000);
    }
}
