//! `muslin join`

use super::init::Begun;
use crate::args::{Find, Format, Global, Join, NewNode};
use crate::failure::{Failure, Kind};
use crate::output;
use muslin::daemon::{self, JoinOptions, UpOptions};
use muslin::join::JoinHeld;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
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
        token: match &join.token_file {
            Some(file) => Some(token_of(file)?),
            None => join.token,
        },
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
        reach_check: !join.no_reach_check,
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
    let error = become_up(&data_dir, &join.find, &join.log);
    tracing::debug!(%error, "goes on as the process that joined");
    let Find { seeds, discover } = join.find;
    super::up::run_node(UpOptions { seeds, discover, ..UpOptions::new(data_dir) }, None).await
}

/// The first line of a file, or of stdin.
fn token_of(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text),
        false => File::open(file).and_then(|f| f.take(TOKEN_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|error| {
        let sentence = format!("cannot read the token from {}: {error}", file.display());
        Failure::new(Kind::Usage, sentence)
            .hint("write the token that `muslin token create` printed into it, or pipe it to `-`")
    })?;
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}

/// Goes on as `muslin up`, the same process: with other words in the list of processes, where the
/// token would stand for as long as the node runs. Returns only why it could not.
fn become_up(data_dir: &Path, find: &Find, log: &str) -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = Command::new(program);
    command.arg("up").arg("--data-dir").arg(data_dir).args(["--log", log]);
    command.args(find.seeds.iter().map(|seed| format!("--seeds={seed}")));
    command.args(find.discover.iter().map(|way| format!("--discover={way}")));
    command.env_remove("MUSLIN_TOKEN").exec()
}

/// Far more than a token has: a wrong file is not read whole.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// What a person has to know of a join that waits.
fn tell(name: &str, held: &JoinHeld, code: &str) {
    output::hint(&format!("the join waits: {}", held.waits_for));
    if held.missing_roles.is_empty() {
        output::hint(&format!("where a node runs:    muslin node approve {name} --code {code}"));
        output::hint("compare the code with `muslin node held` there: they must be the same");
    }
}
