//! Writes that never wait for one another: they show when writes stop and when they go on.

use super::Recorder;
use super::call::{Caller, connect};
use crate::history::{Action, Family, Key};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

/// Between two writes to one node.
const PERIOD: Duration = Duration::from_millis(10);

/// Keys of one node's probes.
const KEYS: u32 = 8;

/// Probes in flight to one node: as many as a whole call's patience holds at this pace.
const IN_FLIGHT_MAX: usize = 700;

/// Probes a node until told to stop.
pub(super) async fn run(node: u8, recorder: Arc<Recorder>, stop: watch::Receiver<bool>) {
    let caller = Caller::new(connect(), recorder.clone());
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut ticks = interval(PERIOD);
    // A machine that stood still does not make up for it with a flood.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !*stop.borrow() {
        ticks.tick().await;
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        number += 1;
        let key = Key::new(Family::Probe, u32::from(node) * KEYS + number % KEYS);
        let action = Action::Put((key, recorder.fresh_value()));
        let mut caller = caller.clone();
        tokio::spawn(async move {
            caller.perform(node, action).await;
            drop(place);
        });
    }
    // What is in flight is written down before the history is.
    let _ = places.acquire_many(IN_FLIGHT_MAX as u32).await;
}
