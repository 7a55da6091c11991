//! `muslin backup`

use super::settings;
use super::token::fields;
use super::{init, kv, up};
use crate::args::{Backup, Consistency, Format, Global, NewNode, Restore, Schedule};
use crate::client::{Call, Client};
use crate::failure::{Failure, Kind};
use crate::output;
use muslin::backup::{self, BackupError, Saved, Saving};
use muslin::daemon::{self, DaemonError, InitOptions, RestoreAnswer};
use serde_json::{Value, json};
use std::path::Path;

/// Saves, reads, restores, schedules.
pub(crate) async fn run(global: &Global, command: Backup) -> Result<(), Failure> {
    match command {
        Backup::Save { file, consistency } => {
            let saved = save(global, &file, consistency).await?;
            let saved = json!(saved);
            output::sentence(global.output, &saved, &said(&saved))
        }
        Backup::Inspect { file } => {
            let inspected = backup::inspect(&file).map_err(failure)?;
            output::body(global.output, &json!(inspected), fields)
        }
        Backup::Restore(options) => restore(global, *options),
        Backup::Schedule(options) => schedule(global, &options).await,
    }
}

async fn save(global: &Global, file: &Path, consistency: Consistency) -> Result<Saved, Failure> {
    if file.file_name().is_none() || file.is_dir() {
        let sentence = format!("{} is no name for a file", file.display());
        return Err(Failure::new(Kind::Usage, sentence).hint("name the file to write"));
    }
    let client = Client::new(global).await?;
    let call = Call::get(format!("/v1/snapshot?{}", kv::query(consistency)));
    let mut pieces = client.pieces(call).await?;
    let mut saving = Saving::begin(file).map_err(failure)?;
    while let Some(piece) = pieces.next().await? {
        saving.write(&piece).map_err(failure)?;
    }
    saving.finish().map_err(failure)
}

fn said(saved: &Value) -> String {
    let cell = |name: &str| output::cell(saved, name);
    format!(
        "{}: {} bytes, {} keys, {} leases, {} users, at revision {}\n",
        cell("path"),
        cell("bytes"),
        cell("keys"),
        cell("leases"),
        cell("users"),
        cell("revision"),
    )
}

fn restore(global: &Global, options: Restore) -> Result<(), Failure> {
    let Restore { file, mut node, cluster_name } = options;
    init::complete(&mut node);
    init::check_new_node(&node, init::Begun::Not)?;
    let cluster_name = match cluster_name {
        Some(name) => name,
        None => backup::head(&file).map_err(failure)?.cluster_name,
    };
    let NewNode { data_dir, name, listen, advertise, etcd_listen, roles, profile, .. } = node;
    let answer = daemon::restore(
        &file,
        &InitOptions {
            data_dir: data_dir.clone(),
            name,
            cluster_name,
            listen,
            advertise,
            etcd_listen,
            roles,
            profile: init::profile(profile),
        },
    );
    let RestoreAnswer { made, head, revision, epoch } = answer.map_err(|error| match error {
        DaemonError::Backup(error) => failure(error),
        error => up::failure(error),
    })?;
    let line = init::join_line(made.address, &made.join_line_token);
    if global.output == Format::Json {
        return output::json(&json!({
            "cluster": made.cluster.to_string(),
            "node": made.node.to_string(),
            "token": made.join_line_token,
            "join": line,
            "revision": revision,
            "epoch": epoch,
            "backup": head,
        }));
    }
    output::hint(&format!(
        "restored: {} keys, {} leases and {} users of cluster {}, in a cluster of its own: {}",
        head.keys, head.leases, head.users, head.cluster, made.cluster
    ));
    output::hint(&format!(
        "its revision is {revision} (the backup's was {}), and its epoch {epoch}: whoever followed \
         the old cluster is told to read anew",
        head.revision
    ));
    if head.groups > 0 {
        output::hint(&format!("the {} groups of that cluster are not in a backup", head.groups));
    }
    output::hint(&format!("run it:    muslin up --data-dir {}", data_dir.display()));
    output::hint("join it, within an hour, from any number of nodes:");
    output::text(&format!("{line}\n"))
}

async fn schedule(global: &Global, options: &Schedule) -> Result<(), Failure> {
    let mut wanted: Vec<String> = Vec::new();
    wanted.extend(options.off.then(|| String::from("backup_every=default")));
    wanted.extend(options.every.iter().map(|every| format!("backup_every={every}")));
    wanted.extend(options.keep.iter().map(|keep| format!("backup_keep={keep}")));
    let client = Client::new(global).await?;
    let answer = match wanted.is_empty() {
        true => client.json(Call::get(settings::PATH)).await?,
        false => {
            let body = settings::body(&wanted)?.to_string();
            client.json(Call::patch(settings::PATH, body)).await?
        }
    };
    let settings = &answer["settings"];
    let (every, keep) = (&settings["backup_every_ms"], &settings["backup_keep"]);
    let words = match every.as_u64() {
        None => String::from("no backups are written: --every TIME has whoever leads write them\n"),
        Some(every) => format!(
            "whoever leads writes a backup every {}, and each node keeps the last {keep} that it \
             wrote\nthey are in `backups` in its data directory, or where `muslin up --backup-dir` \
             says; `muslin events` tells of each\n",
            settings::told(every)
        ),
    };
    let body = json!({ "every_ms": every, "keep": keep });
    output::sentence(global.output, &body, &words)
}

fn failure(error: BackupError) -> Failure {
    let kind = match &error {
        BackupError::Bad { .. } => Kind::Conflict,
        BackupError::Received(_) => Kind::Unreachable,
        BackupError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Kind::NotFound
        }
        BackupError::Io { .. } => Kind::Failed,
    };
    Failure::new(kind, error.to_string())
}
