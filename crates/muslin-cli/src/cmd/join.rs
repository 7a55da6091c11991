//! `muslin join`

use crate::args::{Format, Global, Join, NewNode};
use crate::failure::Failure;
use crate::output;
use muslin::daemon::{self, JoinOptions, UpOptions};

/// Joins, and with `--up` goes on as the node.
pub(crate) async fn run(global: &Global, join: Join) -> Result<(), Failure> {
    super::init::check_new_node(&join.node)?;
    if join.up {
        super::up::log_to_stderr(&join.log)?;
    }
    let NewNode { data_dir, name, listen, advertise, etcd_listen, roles, profile, .. } = join.node;
    let contact = super::up::resolve(&join.contact).await?;
    let answer = daemon::join(JoinOptions {
        contact,
        token: join.token,
        data_dir: data_dir.clone(),
        name: name.clone(),
        listen,
        advertise,
        etcd_listen,
        roles,
        profile: super::init::profile(profile),
    });
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
    super::up::run_node(UpOptions::new(data_dir), None).await
}
