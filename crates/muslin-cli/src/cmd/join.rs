//! `muslin join`

use super::init::Begun;
use crate::args::{Find, Format, Global, Join, NewNode};
use crate::failure::Failure;
use crate::output;
use muslin::daemon::{self, JoinOptions, UpOptions};
use muslin::join::JoinHeld;
use std::time::Duration;

/// Joins, and with `--up` goes on as the node.
pub(crate) async fn run(global: &Global, mut join: Join) -> Result<(), Failure> {
    super::init::complete(&mut join.node);
    super::init::check_new_node(&join.node, Begun::MayBe)?;
    if join.up {
        super::up::log_to_stderr(&join.log)?;
    }
    let NewNode { data_dir, name, listen, advertise, etcd_listen, roles, profile, .. } = join.node;
    let contacts = match &join.contact {
        Some(contact) => super::up::resolve(contact).await?,
        None => Vec::new(),
    };
    let Find { seeds, discover } = join.find.clone();
    let options = JoinOptions {
        contacts,
        seeds,
        discover,
        token: join.token,
        data_dir: data_dir.clone(),
        name: name.clone(),
        listen,
        advertise,
        etcd_listen,
        roles,
        profile: super::init::profile(profile),
        wait: Duration::from_secs(join.wait),
        requires: join.requires,
        requires_for_bootstrap: join.requires_for_bootstrap,
        zone: join.zone,
    };
    let answer = daemon::join(options, |held, code| tell(&name, held, code));
    let answer = answer.await.map_err(super::up::failure)?;
    match global.output {
        Format::Json => output::json(&serde_json::json!({
            "cluster": answer.cluster.to_string(),
            "node": answer.node.to_string(),
        }))?,
        Format::Table => {
            output::text(&format!(
                "{name} joined cluster {} as {}\n",
                answer.cluster, answer.node
            ))?;
        }
    }
    if !join.up {
        output::hint(&format!("run it:    muslin up --data-dir {}", data_dir.display()));
        return Ok(());
    }
    let Find { seeds, discover } = join.find;
    super::up::run_node(UpOptions { seeds, discover, ..UpOptions::new(data_dir) }, None).await
}

/// What a person has to know of a join that waits.
fn tell(name: &str, held: &JoinHeld, code: &str) {
    output::hint(&format!("the join waits: {}", held.waits_for));
    if held.missing_roles.is_empty() {
        output::hint(&format!("where a node runs:    muslin node approve {name} --code {code}"));
        output::hint("compare the code with `muslin node held` there: they must be the same");
    }
}
