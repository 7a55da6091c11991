//! The closed loop: each proposer has one proposal under way, and makes the next when it is told
//! that the last is committed.

use super::disk::Yardstick;
use super::figures::{Figures, Histogram, processor_time};
use super::mailbox::Mailbox;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time before measuring: connections, caches and branch predictors are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// With a yardstick the measured time is cut into slices of this length.
const SLICE: Duration = Duration::from_millis(500);

/// Time before measuring in a slice that is not the first.
const RAMP: Duration = Duration::from_millis(50);

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
    ///
    /// With a yardstick the disk is measured before, after and in between, while the engine has
    /// nothing under way: what else the machine does then meets both alike.
    pub(crate) fn run(
        &self,
        engine: &str,
        committed: &Mailbox<usize>,
        propose: impl FnMut(Vec<Bytes>),
        yardstick: Option<&mut Yardstick>,
    ) -> Result<Figures, String> {
        let mut run = Run {
            load: *self,
            engine,
            committed,
            propose,
            mail: Vec::new(),
            ready: Vec::new(),
            under_way: VecDeque::new(),
            latency: Histogram::default(),
            elapsed: Duration::ZERO,
            processor: Duration::ZERO,
        };
        match yardstick {
            None => run.slice(self.window().0, self.length)?,
            Some(yardstick) => run.slices(yardstick)?,
        }
        let Run { latency, elapsed, processor, .. } = run;
        let (engine, proposers) = (engine.to_string(), self.proposers);
        let mode = "memory";
        Ok(Figures { engine, mode, proposers, elapsed, processor, latency, syncs: None })
    }
}

/// A load at work.
struct Run<'a, P> {
    load: Load,
    engine: &'a str,
    committed: &'a Mailbox<usize>,
    propose: P,
    mail: Vec<usize>,
    /// Proposals to come, made while those before are under way: clients do that at home.
    ready: Vec<Bytes>,
    /// When proposals were made, and how many at a time.
    under_way: VecDeque<(Instant, usize)>,
    /// What was measured so far.
    latency: Histogram,
    elapsed: Duration,
    processor: Duration,
}

impl<P: FnMut(Vec<Bytes>)> Run<'_, P> {
    /// Slices of the measured time, with the yardstick around each.
    fn slices(&mut self, yardstick: &mut Yardstick) -> Result<(), String> {
        let mut measure = || yardstick.measure().map_err(|e| format!("cannot measure: {e}"));
        measure()?;
        let (mut begin, _) = self.load.window();
        while self.elapsed < self.load.length {
            let left = self.load.length - self.elapsed;
            self.slice(begin, left.min(SLICE))?;
            measure()?;
            begin = Instant::now() + RAMP;
        }
        Ok(())
    }

    /// Runs the loop, measures for so long from `begin` on, and waits until nothing is under way.
    fn slice(&mut self, begin: Instant, length: Duration) -> Result<(), String> {
        // When measuring began, and the processor time used by then.
        let mut began: Option<(Instant, Duration)> = None;
        self.propose(self.load.proposers);
        loop {
            let (now, through) = self.take(began.is_some())?;
            match began {
                None if now >= begin => began = Some((now, processor_time())),
                Some((start, used)) if now - start >= length => {
                    self.elapsed += now - start;
                    self.processor += processor_time().saturating_sub(used);
                    break;
                }
                _ => {}
            }
            self.propose(through);
        }
        while !self.under_way.is_empty() {
            self.take(false)?;
        }
        Ok(())
    }

    fn propose(&mut self, count: usize) {
        self.under_way.push_back((Instant::now(), count));
        let load = self.load;
        self.ready.resize_with(self.ready.len().max(count), || load.payload());
        let later = self.ready.split_off(count);
        (self.propose)(std::mem::replace(&mut self.ready, later));
        self.ready.resize_with(load.proposers, || load.payload());
    }

    /// Waits for what comes through: when, and how many.
    fn take(&mut self, is_measured: bool) -> Result<(Instant, usize), String> {
        self.committed.take(&mut self.mail, Some(Instant::now() + STALLED));
        let now = Instant::now();
        let through: usize = self.mail.drain(..).sum();
        if through == 0 {
            let seconds = STALLED.as_secs();
            return Err(format!("{} has committed nothing for {seconds} s", self.engine));
        }
        settle(&mut self.under_way, through, |sent, times| {
            if is_measured {
                self.latency.record(now - sent, times as u64);
            }
        });
        Ok((now, through))
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
        let propose = |proposals: Vec<Bytes>| {
            most = most.max(proposals.len());
            committed.push(proposals.len());
        };
        let figures = load.run("nothing", &committed, propose, None);
        assert!(figures.unwrap().latency.total() > 0);
        assert_eq!(most, 7);
    }
}
