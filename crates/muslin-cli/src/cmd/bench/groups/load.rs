//! Clients that write to all groups at the same time.

use super::cluster::Cluster;
use crate::args::BenchGroups;
use bytes::Bytes;
use muslin_core::base::GroupId;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What the clients saw.
#[derive(Default)]
pub(super) struct Loaded {
    micros: Vec<u32>,
    elapsed: Duration,
    pub(super) errors: u64,
    /// Why the first command failed, if one did.
    first_error: Option<String>,
}

impl Loaded {
    /// Why nothing at all was answered; `None` if something was.
    pub(super) fn why_nothing(&self) -> Option<&str> {
        let why = self.first_error.as_deref().unwrap_or("no answer");
        self.micros.is_empty().then_some(why)
    }

    /// Answered commands a second.
    pub(super) fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The time that so many of a thousand commands did not exceed.
    pub(super) fn permille(&self, permille: usize) -> Duration {
        let rank = (self.micros.len() * permille).div_ceil(1_000).max(1);
        Duration::from_micros(self.micros.get(rank - 1).copied().unwrap_or(0).into())
    }
}

/// Each client of a group has one command at a time, on the nodes in turn.
pub(super) async fn run(
    cluster: &Cluster,
    groups: &[GroupId],
    bench: &BenchGroups,
) -> Result<Loaded, String> {
    let start = Instant::now();
    let end = start + Duration::from_secs(bench.seconds);
    let command = Bytes::from(vec![b'x'; bench.payload_bytes]);
    let mut clients = JoinSet::new();
    for (number, group) in groups.iter().cycle().take(groups.len() * bench.clients).enumerate() {
        let handle = cluster.handles[number % cluster.handles.len()].clone();
        let (group, command) = (*group, command.clone());
        clients.spawn(async move {
            let mut seen = Loaded::default();
            while Instant::now() < end {
                let asked = Instant::now();
                match handle.group_propose(group, command.clone()).await {
                    Ok(_) => {
                        let micros = asked.elapsed().as_micros().min(u128::from(u32::MAX));
                        seen.micros.push(micros as u32);
                    }
                    Err(failure) => {
                        seen.errors += 1;
                        seen.first_error.get_or_insert_with(|| failure.to_string());
                    }
                }
            }
            seen
        });
    }
    let mut all = Loaded::default();
    while let Some(seen) = clients.join_next().await {
        let seen = seen.map_err(|error| error.to_string())?;
        all.micros.extend(seen.micros);
        all.errors += seen.errors;
        all.first_error = all.first_error.or(seen.first_error);
    }
    all.elapsed = start.elapsed();
    all.micros.sort_unstable();
    Ok(all)
}
