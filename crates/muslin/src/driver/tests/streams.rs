//! Nodes whose datagrams are lost.

use super::{Cluster, PATIENCE};
use muslin_core::node::Event;
use muslin_core::swim;
use std::time::Duration;

/// Followers without a group in common say nothing to each other on streams by themselves: whoever
/// is reached there was probed there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_no_datagram_reaches_is_probed_on_a_stream() {
    let cluster = Cluster::start().await;
    let mut events = cluster.handle(1).events();
    let mut others = cluster.handle(2).events();
    until_all_know_each_other(&cluster).await;
    cluster.network.set_loss(1_000_000);
    let by_stream = async {
        loop {
            let told = tokio::select! {
                told = events.recv() => told,
                told = others.recv() => told,
            };
            let event = told.expect("few events are told").event.clone();
            let Event::Swim(swim::Event::Reached { detour, .. }) = event else { continue };
            if detour == swim::Detour::Stream {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, by_stream).await.expect("a stream answers");
}

async fn until_all_know_each_other(cluster: &Cluster) {
    for id in 1..=3 {
        loop {
            let status = cluster.handle(id).status().await.unwrap();
            let is_alive = |entry: &&swim::ViewEntry| entry.state == swim::Liveness::Alive;
            if status.leader.is_some() && status.view.iter().filter(is_alive).count() == 3 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
