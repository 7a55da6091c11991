//! How fast the log is on this machine's disk, next to bare writes and syncs of the same length.
//! Prints; asserts nothing.

use super::*;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_secs(3);

/// Room of one entry of 128 bytes.
const ENTRY_BYTES: u64 = 168;

/// Run with optimization, alone, and `-- --ignored --nocapture`.
#[test]
#[ignore = "measures; run by hand"]
fn speed_of_batches() {
    for size in [1, 64, 1, 64] {
        report("bare", size, bare(size));
        report("store", size, stored(size));
    }
}

fn stored(size: u64) -> Vec<u128> {
    let payload = Bytes::from(vec![7; 128]);
    let dir = tempfile::tempdir().unwrap();
    FileStore::create(dir.path(), OWNER, Options::default()).unwrap();
    let mut store = FileStore::open(dir.path(), OWNER, Options::default());
    store.recover().unwrap();
    let mut index = 0;
    measure(|| {
        let entry = |at| Entry {
            id: LogId::new(Term(1), Index(index + at)),
            payload: Payload::Command(payload.clone()),
        };
        let batch: Vec<_> = (1..=size)
            .map(|at| {
                (GroupId(0), Write::Log { hard_state: None, entries: vec![entry(at)].into() })
            })
            .collect();
        store.write(&batch).unwrap();
        index += size;
    })
}

/// The same bytes to a file of the same making, by the same two calls.
fn bare(size: u64) -> Vec<u128> {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("bare")).unwrap();
    let room = Options::default().segment_bytes;
    file.write_all_at(&vec![0; room as usize], 0).unwrap();
    file.sync_all().unwrap();
    let bytes = vec![7; (size * ENTRY_BYTES) as usize];
    let mut offset = 0;
    measure(|| {
        file.write_all_at(&bytes, offset).unwrap();
        file.sync_data().unwrap();
        offset += bytes.len() as u64;
        if offset + bytes.len() as u64 > room {
            offset = 0;
        }
    })
}

fn measure(mut write: impl FnMut()) -> Vec<u128> {
    let (start, mut waits) = (Instant::now(), Vec::new());
    while start.elapsed() < LENGTH {
        let begun = Instant::now();
        write();
        waits.push(begun.elapsed().as_micros());
    }
    waits
}

fn report(name: &str, size: u64, mut waits: Vec<u128>) {
    let rate = waits.len() as f64 / LENGTH.as_secs_f64();
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "{name:5} batches of {size:2}: {rate:6.0} syncs/s, {:7.0} entries/s, p50 {} us, p99 {} us, \
         worst {} us",
        rate * size as f64,
        at(50),
        at(99),
        at(100)
    );
}
