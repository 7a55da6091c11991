//! The supervisor's loop.

use super::fleet::Fleet;
use super::order::{self, Order};
use super::plan::{self, Plan};
use super::ready;
use super::say::{self, Voice};
use crate::args::{Dev, Global, Profile};
use crate::client::{Call, Client};
use crate::failure::{Failure, Kind};
use crate::signals;
use muslin::daemon::{self, InitOptions};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// What the cluster is called.
const CLUSTER_NAME: &str = "dev";

/// Longest wait for the status of one node.
const STATUS_WAIT: Duration = Duration::from_secs(4);

/// Runs a cluster until it is told to stop.
pub(crate) async fn run(global: &Global, dev: Dev) -> Result<(), Failure> {
    // Before anything exists that would have to be cleaned up.
    let stop = signals::stop()?;
    let plan = plan::plan(&dev)?;
    let answer = run_planned(global, &dev, &plan, stop).await;
    plan.clean_up();
    let voice = Voice::new(global.output);
    answer.and_then(|()| voice.stopped(&plan))
}

async fn run_planned(
    global: &Global,
    dev: &Dev,
    plan: &Plan,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    if !plan.is_resumed {
        found(plan, dev.profile.unwrap_or(Profile::Fast))?;
    }
    let mut fleet = Fleet::new(&plan.nodes, dev);
    let voice = Voice::new(global.output);
    let answer = tokio::select! {
        answer = supervise(&mut fleet, dev, plan, voice) => answer,
        () = stop => Ok(()),
    };
    fleet.stop_all().await;
    answer
}

/// Prepares the directories of a cluster whose nodes are all its first voters.
fn found(plan: &Plan, profile: Profile) -> Result<(), Failure> {
    let options = |node: &plan::NodePlan| InitOptions {
        data_dir: node.data_dir.clone(),
        name: node.name.clone(),
        cluster_name: CLUSTER_NAME.to_string(),
        listen: node.listen,
        advertise: None,
        etcd_listen: Some(node.etcd),
        roles: vec!["control".to_string()],
        profile: crate::cmd::init::profile(profile),
    };
    daemon::init_founders(plan.nodes.iter().map(options).collect())
        .map(drop)
        .map_err(crate::cmd::up::failure)
}

/// Starts, waits until ready, then does what is asked until the end is.
async fn supervise(fleet: &mut Fleet, dev: &Dev, plan: &Plan, voice: Voice) -> Result<(), Failure> {
    let mut children = signal(SignalKind::child())?;
    let begun = Instant::now();
    fleet.start_all()?;
    let nodes = ready::wait(fleet).await?;
    voice.ready(&nodes, plan, begun.elapsed())?;
    let mut orders = order::from_stdin(voice.has_prompt())?;
    let mut are_orders_over = false;
    let end = async {
        match dev.exit_after {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    voice.prompt();
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            // A process that pauses is heard of too, and nothing has to be said.
            _ = children.recv() => {
                for exit in fleet.reap() {
                    voice.exited(&exit)?;
                    voice.prompt();
                }
            }
            order = orders.recv(), if !are_orders_over => match order {
                Some(Order::Quit) => return Ok(()),
                Some(order) => {
                    carry_out(fleet, order, voice).await?;
                    voice.prompt();
                }
                None => are_orders_over = true,
            },
        }
    }
}

/// Does one thing and says so, or says why not.
async fn carry_out(fleet: &mut Fleet, order: Order, voice: Voice) -> Result<(), Failure> {
    let done = match &order {
        Order::Kill(node) => fleet.kill(node).map(|()| ("killed", node, None)),
        Order::Start(node) => fleet.start(node).map(|pid| ("started", node, Some(pid))),
        Order::Pause(node) => fleet.pause(node).map(|()| ("paused", node, None)),
        Order::Resume(node) => fleet.resume(node).map(|()| ("resumed", node, None)),
        Order::Status => return status(fleet, voice).await,
        Order::Help => return voice.help(),
        Order::Unknown(line) if line.is_empty() => return Ok(()),
        Order::Unknown(line) => {
            let failure = Failure::new(Kind::Usage, format!("`{line}` is not known here"));
            return voice.refused(&failure.hint(say::HELP));
        }
        Order::Quit => return Ok(()),
    };
    match done {
        Ok((event, node, pid)) => voice.done(event, node, pid),
        Err(failure) => voice.refused(&failure),
    }
}

/// Asks the first node that runs.
async fn status(fleet: &Fleet, voice: Voice) -> Result<(), Failure> {
    let running = fleet.nodes().iter().filter(|node| node.is_running());
    for node in running {
        let client = Client::at(&node.plan.listen.to_string(), STATUS_WAIT);
        if let Ok(body) = client.json(Call::get("/v1/status")).await {
            return voice.status(fleet, &body);
        }
    }
    voice.refused(&Failure::new(Kind::Unreachable, "no node answers"))
}
