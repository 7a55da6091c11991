//! `muslin check-disk`

use crate::args::{CheckDisk, Format, Global};
use crate::failure::{Failure, Kind};
use crate::output;
use muslin::daemon::DaemonError;
use muslin::data_dir::DataDir;
use muslin::store::StoreError;
use muslin::store::file::{Checked, Verdict};
use serde_json::json;

/// Reads a stopped node's files; sound or not is the exit code.
pub(crate) fn run(global: &Global, check: &CheckDisk) -> Result<(), Failure> {
    if matches!(check.dir.try_exists(), Ok(false)) {
        let sentence = format!("there is no directory {}", check.dir.display());
        return Err(Failure::new(Kind::NotFound, sentence)
            .hint("give the node's data directory, as `muslin up` is given it"));
    }
    let checked = DataDir::check(&check.dir).map_err(refused)?;
    match global.output {
        Format::Json => output::json(&json!({
            "verdict": word(checked.verdict),
            "damages": checked.damages.iter().map(|damage| json!({
                "file": damage.path.display().to_string(),
                "offset": damage.offset,
                "what": damage.what,
            })).collect::<Vec<_>>(),
            "torn_bytes": checked.torn_bytes,
            "groups": checked.groups,
            "rebuilding": checked.rebuilding,
            "segments": checked.segments,
            "entries": checked.entries,
            "snapshots": checked.snapshots,
        }))?,
        Format::Table => output::text(&text(&checked))?,
    }
    match checked.verdict {
        Verdict::Sound | Verdict::TornTail => Ok(()),
        Verdict::Rebuilding | Verdict::Damaged => Err(Failure::silent(Kind::Unhealthy)),
    }
}

fn refused(error: StoreError) -> Failure {
    if let StoreError::Locked { path, pid } = &error {
        let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        let sentence = format!("{} is in use by a running node{pid}", path.display());
        return Failure::new(Kind::Conflict, sentence)
            .hint("stop the node first; its files are checked while nothing writes to them");
    }
    super::up::failure(DaemonError::Store(error))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Sound => "sound",
        Verdict::TornTail => "torn-tail",
        Verdict::Rebuilding => "rebuilding",
        Verdict::Damaged => "damaged",
    }
}

fn text(checked: &Checked) -> String {
    let mut text = match checked.verdict {
        Verdict::Sound => "Sound - everything that was acknowledged is there\n".to_owned(),
        Verdict::TornTail => format!(
            "Sound - with a torn tail of {} bytes, never acknowledged: cut at the next start\n",
            checked.torn_bytes
        ),
        Verdict::Rebuilding => "Rebuilding - what is here is sound, but an earlier damage took a \
                                part, which only other nodes have\n"
            .to_owned(),
        Verdict::Damaged => "Damaged - the next start puts the damaged files into `damaged` and \
                             fetches what they held from the other nodes\n"
            .to_owned(),
    };
    for damage in &checked.damages {
        text += &format!("  {damage}\n");
    }
    if checked.rebuilding > 0 {
        text += &format!(
            "  {} groups have yet to fetch what an earlier damage took\n",
            checked.rebuilding
        );
    }
    let Checked { groups, segments, entries, snapshots, .. } = checked;
    text + &format!(
        "\ngroups   {groups}\nlog      {segments} segments, {entries} entries\n\
         states   {snapshots} snapshots\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_says_to_stop_the_node() {
        let locked = StoreError::Locked { path: "n1".into(), pid: Some(12) };
        let failure = refused(locked);
        assert_eq!(failure.kind, Kind::Conflict);
        let text = failure.to_string();
        assert!(text.starts_with("n1 is in use by a running node (pid 12)"), "{text}");
        assert!(text.contains("stop the node first"), "{text}");
    }
}
