//! Writers that remember what was acknowledged.

use crate::http;
use crate::process::until;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Writers at once; enough to have several writes in flight at every moment.
const WRITERS: usize = 6;

/// A load that runs until [`Load::stop`].
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Each writer goes round the nodes, with keys of its own, each written once.
    pub(crate) fn start(addresses: &[String]) -> Load {
        let is_over = Arc::new(AtomicBool::new(false));
        let start = |writer: usize| {
            let (is_over, addresses) = (is_over.clone(), addresses.to_vec());
            std::thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("load/{writer}/{number:06}");
                    if http::put(&addresses[(writer + number) % addresses.len()], &key, &key) {
                        acknowledged.push(key);
                    }
                }
                acknowledged
            })
        };
        let writers = (0..WRITERS).map(start).collect();
        Load { is_over, writers }
    }

    /// Every key whose write was acknowledged.
    pub(crate) fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    }
}

/// Every acknowledged key must be there with its value.
#[track_caller]
pub(crate) fn check_all(address: &str, acknowledged: &[String]) {
    assert!(!acknowledged.is_empty(), "no write was acknowledged at all");
    for key in acknowledged {
        let value = until("a read is answered", || http::get(address, key));
        assert_eq!(value.as_ref(), Some(key), "an acknowledged write is lost");
    }
}
