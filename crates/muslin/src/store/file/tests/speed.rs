//! How fast the log is on this machine's disk. Prints; asserts nothing.

use super::*;
use std::time::{Duration, Instant};

/// Run with optimization, alone, and `-- --ignored --nocapture`.
#[test]
#[ignore = "measures; run by hand"]
fn speed_of_batches() {
    let payload = Bytes::from(vec![7; 128]);
    for size in [1, 64, 1, 64_u64] {
        let dir = tempfile::tempdir().unwrap();
        FileStore::create(dir.path(), OWNER, Options::default()).unwrap();
        let mut store = FileStore::open(dir.path(), OWNER, Options::default());
        store.recover().unwrap();
        let (start, mut index, mut waits) = (Instant::now(), 0_u64, Vec::new());
        while start.elapsed() < Duration::from_secs(3) {
            let entry = |at| Entry {
                id: LogId::new(Term(1), Index(index + at)),
                payload: Payload::Command(payload.clone()),
            };
            let batch: Vec<_> = (1..=size)
                .map(|at| (GroupId(0), Write::Log { hard_state: None, entries: vec![entry(at)] }))
                .collect();
            let begun = Instant::now();
            store.write(&batch).unwrap();
            waits.push(begun.elapsed().as_micros());
            index += size;
        }
        let rate = index as f64 / start.elapsed().as_secs_f64();
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        println!(
            "batches of {size}: {rate:.0} entries/s, p50 {} us, p99 {} us, worst {} us",
            at(50),
            at(99),
            at(100)
        );
    }
}
