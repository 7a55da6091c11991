//! Keeps the node told of where members may be, and remembers where they were.

use super::DaemonError;
use crate::data_dir::PeersFile;
use crate::discovery::{ASK_EVERY, LastSeen, Listed, Told};
use crate::driver::Handle;
use muslin_core::node::{Event, NodeStatus};
use muslin_core::state::{Member, MemberState};
use muslin_core::swim::{self, Liveness};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::broadcast;

/// The least time between two writes of the members last seen.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Keeps a node with static membership told where members are. Ends when the node does.
pub(super) fn start_static(mut listed: Listed, handle: Handle) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Handle::current();
    let ask = move || {
        let mut told = BTreeMap::new();
        loop {
            let places = listed.places();
            if places != told {
                told.clone_from(&places);
                if !runtime.block_on(handle.place_members(places)) {
                    return;
                }
            } else if handle.is_stopped() {
                return;
            }
            std::thread::sleep(ASK_EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("muslin-discovery".into());
    thread.spawn(ask).map(drop).map_err(DaemonError::Thread)
}

/// Writes down where members are, whenever that changes, and tells the discovery of those that only
/// the record knows: nobody may have lived to write them down. Never returns by itself.
pub(super) async fn remember(handle: Handle, file: &PeersFile, unheard: &Told) {
    let mut events = handle.events();
    let mut saved = BTreeMap::new();
    loop {
        if let Ok(status) = handle.status().await {
            unheard.tell(unheard_in(&status));
            let peers = LastSeen::of_view(&status.view, status.id);
            if peers != saved && !peers.is_empty() {
                match file.save(&peers) {
                    Ok(()) => saved = peers,
                    Err(error) => tracing::warn!(%error, "cannot remember the members"),
                }
            }
        }
        tokio::time::sleep(SAVE_EVERY).await;
        loop {
            match events.recv().await {
                Ok(record) if !is_about_addresses(&record.event) => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => break,
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// Where the record says that members are which the failure detector here does not know: those that
/// are down, and all while nobody is heard. In a slice of a large cluster most are not known.
fn unheard_in(status: &NodeStatus) -> impl Iterator<Item = SocketAddr> {
    let heard: BTreeSet<_> = status.view.iter().map(|seen| seen.node).collect();
    let mut others = status.view.iter().filter(|seen| seen.node != status.id);
    let is_alone = others.all(|seen| seen.state != Liveness::Alive);
    let is_unheard = move |member: &&Member| {
        !heard.contains(&member.node()) && (is_alone || member.state() == MemberState::Down)
    };
    status.members.iter().filter(is_unheard).filter_map(|member| member.address.parse().ok())
}

fn is_about_addresses(event: &Event) -> bool {
    matches!(
        event,
        Event::Members { .. }
            | Event::Swim(swim::Event::Alive { .. } | swim::Event::Changed { .. })
    )
}
