//! The closed loop: each proposer has one proposal under way, and makes the next when it is told
//! that the last is committed.

use super::figures::{Figures, Histogram, processor_time};
use super::mailbox::Mailbox;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time before measuring: connections, caches and branch predictors are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// Nothing was committed for this long: the engine has stopped, and so does the run.
const STALLED: Duration = Duration::from_secs(10);

/// What to load an engine with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Proposals under way at any time.
    pub(crate) proposers: usize,
    /// Size of each.
    pub(crate) payload_bytes: usize,
    /// How long is measured, behind the warm-up.
    pub(crate) length: Duration,
}

impl Load {
    /// When measuring begins, and when it ends.
    pub(crate) fn window(&self) -> (Instant, Instant) {
        let begin = Instant::now() + WARM_UP;
        (begin, begin + self.length)
    }

    /// One proposal: a buffer of its own, as a client's request would be.
    pub(crate) fn payload(&self) -> Bytes {
        Bytes::from(vec![b'm'; self.payload_bytes])
    }

    /// Runs the loop on this thread: `propose` hands proposals to the leader, `committed` brings
    /// the number that came through, in the order of proposing. An error when nothing comes any
    /// more.
    pub(crate) fn run(
        &self,
        engine: &str,
        committed: &Mailbox<usize>,
        mut propose: impl FnMut(Vec<Bytes>),
    ) -> Result<Figures, String> {
        let (begin, _) = self.window();
        let mut under_way = VecDeque::from([(Instant::now(), self.proposers)]);
        propose((0..self.proposers).map(|_| self.payload()).collect());
        let (mut latency, mut mail) = (Histogram::default(), Vec::new());
        // When measuring began, and the processor time used by then.
        let mut began: Option<(Instant, Duration)> = None;
        let (elapsed, processor) = loop {
            committed.take(&mut mail, Some(Instant::now() + STALLED));
            let now = Instant::now();
            let through: usize = mail.drain(..).sum();
            if through == 0 {
                return Err(format!("{engine} has committed nothing for {} s", STALLED.as_secs()));
            }
            settle(&mut under_way, through, |sent, times| {
                if began.is_some() {
                    latency.record(now - sent, times as u64);
                }
            });
            match began {
                None if now >= begin => began = Some((now, processor_time())),
                Some((start, used)) if now - start >= self.length => {
                    break (now - start, processor_time().saturating_sub(used));
                }
                _ => {}
            }
            under_way.push_back((now, through));
            propose((0..through).map(|_| self.payload()).collect());
        };
        let (engine, proposers) = (engine.to_string(), self.proposers);
        let mode = "memory";
        Ok(Figures { engine, mode, proposers, elapsed, processor, latency, syncs: None })
    }
}

/// The oldest so many proposals are through: tells when they were made, and how many at a time.
fn settle(
    under_way: &mut VecDeque<(Instant, usize)>,
    mut through: usize,
    mut tell: impl FnMut(Instant, usize),
) {
    while through > 0 {
        let (sent, count) = under_way.front_mut().expect("only what was proposed is committed");
        let times = through.min(*count);
        tell(*sent, times);
        through -= times;
        *count -= times;
        if *count == 0 {
            under_way.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_commits_at_once_keeps_the_loop_full() {
        let (committed, mut most) = (Mailbox::default(), 0);
        let load = Load { proposers: 7, payload_bytes: 3, length: Duration::from_millis(1) };
        let figures = load.run("nothing", &committed, |proposals| {
            most = most.max(proposals.len());
            committed.push(proposals.len());
        });
        assert!(figures.unwrap().latency.total() > 0);
        assert_eq!(most, 7);
    }
}
