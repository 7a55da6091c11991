//! `muslin cluster recover`: a cluster of one survivor, for the day on which most voters are lost.
//!
//! It shows what each survivor has, says which one it takes and what is lost with that, asks, and
//! then says what to do next. Every refusal leaves the directories as they were.

use super::node::sure;
use crate::args::{Format, Global, Recover};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use muslin::daemon::{self, Answering, Candidate, DaemonError, RecoveredAnswer, Survivors};
use muslin::store::StoreError;
use serde_json::{Value, json};

/// Looks, asks and recovers.
pub(crate) async fn run(global: &Global, options: Recover) -> Result<(), Failure> {
    let survivors = daemon::survey(&options.data_dir).map_err(refused)?;
    let answering = survivors.answering().await;
    let plan = plan(&survivors, &answering);
    if global.output == Format::Table {
        rows(&survivors).print()?;
        output::text(&words(&survivors, &answering))?;
    }
    survivors.check(options.accept_damage).map_err(refused)?;
    let quorum = survivors.quorum_left(&answering).filter(|_| !options.force);
    let quorum = quorum.map(|(left, total)| quorum_left(&left, total));
    if options.dry_run {
        if global.output == Format::Json {
            let mut plan = plan;
            plan["refused"] = json!(quorum.as_ref().map(|failure| &failure.sentence));
            output::json(&plan)?;
        } else if let Some(refusal) = quorum {
            output::hint(&format!("it would be refused: {refusal}"));
        }
        output::hint("nothing was done (--dry-run)");
        return Ok(());
    }
    if let Some(refusal) = quorum {
        return Err(refusal);
    }
    sure(options.sure, &question(survivors.best()))?;
    let answer = survivors.recover(options.accept_damage).map_err(refused)?;
    match global.output {
        Format::Json => output::json(&done(plan, &answer)),
        Format::Table => output::text(&next(survivors.best(), &answer)),
    }
}

fn refused(error: DaemonError) -> Failure {
    match &error {
        DaemonError::Store(StoreError::Locked { path, pid }) => {
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let sentence = format!("{} is in use by a running node{pid}", path.display());
            Failure::new(Kind::Conflict, sentence).hint("stop it first; nothing was changed")
        }
        // The store's own words are those of a node that goes on by itself.
        DaemonError::Store(StoreError::Full { path, .. }) => {
            let sentence = format!("the disk has no room for {}", path.display());
            Failure::new(Kind::Failed, sentence).hint("free some space; nothing was changed")
        }
        DaemonError::Store(StoreError::Io { action, path, source }) => {
            let sentence = format!("cannot {action} {}: {source}", path.display());
            let hint = "the directory is as it was, or recovered: --dry-run shows which";
            Failure::new(Kind::Failed, sentence).hint(hint)
        }
        DaemonError::Recovery(_) | DaemonError::TwoClusters { .. } => {
            Failure::new(Kind::Conflict, error.to_string()).hint("nothing was changed")
        }
        _ => super::up::failure(error),
    }
}

fn quorum_left(left: &[String], total: usize) -> Failure {
    let (names, needed) = (left.join(", "), total / 2 + 1);
    let sentence = format!(
        "{} of {total} voters are left ({names}) and {needed} are a quorum: nothing has to be \
         recovered, and nothing was changed",
        left.len()
    );
    Failure::new(Kind::Conflict, sentence).hint(
        "start them with `muslin up`; if some of them can never come back, name only the \
         directory to go on from, or say --force",
    )
}

fn rows(survivors: &Survivors) -> Table {
    const HEAD: [&str; 12] = [
        "TAKEN",
        "NAME",
        "NODE",
        "CLUSTER",
        "EPOCH",
        "TERM",
        "INDEX",
        "COMMITTED",
        "SNAPSHOT",
        "PART",
        "DISK",
        "DATA DIR",
    ];
    let mut table = Table::new(&HEAD);
    for one in survivors.all() {
        let (config, survey) = (one.config(), one.survey());
        let is_taken = std::ptr::eq(one, survivors.best());
        table.row([
            String::from(if is_taken { "*" } else { "-" }),
            config.name.clone(),
            config.node.to_string(),
            format!("{} {}", config.cluster_name, config.cluster),
            survey.epoch.to_string(),
            survey.position.last.term.to_string(),
            survey.position.last.index.to_string(),
            survey.position.commit.to_string(),
            survey.snapshot.to_string(),
            part_of(one).to_string(),
            String::from(if survey.is_damaged { "damaged" } else { "sound" }),
            one.path().display().to_string(),
        ]);
    }
    table
}

fn part_of(one: &Candidate) -> &'static str {
    if one.survey().voters.contains(&one.config().node) { "voter" } else { "no voter" }
}

/// What a person has to know before the answer to the question.
fn words(survivors: &Survivors, answering: &[Answering]) -> String {
    let best = survivors.best();
    let (name, position) = (&best.config().name, best.survey().position);
    let (term, index) = (position.last.term, position.last.index);
    let voters = list(&best.voters_left_out());
    let others = list(&best.others_left_out());
    let mut lines = vec![
        String::new(),
        format!(
            "compare   with the other machines that are left: the higher epoch, then the \
                 higher term, then the higher index has more"
        ),
        format!(
            "goes on   {name}, alone, with all of its log, in epoch {}",
            survivors.next_epoch()
        ),
        format!("left out  voters: {voters}; other members: {others}; they must join again, empty"),
        format!(
            "lost      what others have acknowledged without {name} behind term {term}, index \
                 {index}"
        ),
    ];
    if best.unsettled() > 0 {
        lines.push(format!(
            "unsure    the last {} entries: it is not known here whether they were acknowledged; \
             they come to be",
            best.unsettled()
        ));
    }
    for one in answering {
        lines.push(format!("answers   {} at {}: stop it first", one.name, one.address));
    }
    lines.join("\n") + "\n"
}

fn list(names: &[String]) -> String {
    if names.is_empty() { String::from("none") } else { names.join(", ") }
}

fn question(best: &Candidate) -> String {
    let name = &best.config().name;
    format!("go on with {name} alone, and never again with {}", list(&best.voters_left_out()))
}

fn plan(survivors: &Survivors, answering: &[Answering]) -> Value {
    let best = survivors.best();
    let all: Vec<Value> = survivors.all().iter().map(|one| {
        let (config, survey) = (one.config(), one.survey());
        json!({
            "data_dir": one.path().display().to_string(),
            "name": config.name,
            "node": config.node.to_string(),
            "cluster": config.cluster.to_string(),
            "cluster_name": config.cluster_name,
            "epoch": survey.epoch.0,
            "last": { "term": survey.position.last.term.0, "index": survey.position.last.index.0 },
            "commit": survey.position.commit.0,
            "snapshot": survey.snapshot.0,
            "votes": survey.voters.contains(&config.node),
            "damaged": survey.is_damaged,
        })
    }).collect();
    let answering: Vec<Value> = (answering.iter())
        .map(|one| json!({ "name": one.name, "addr": one.address.to_string() }))
        .collect();
    json!({
        "survivors": all,
        "taken": best.config().name,
        "left_out": { "voters": best.voters_left_out(), "others": best.others_left_out() },
        "unsettled_entries": best.unsettled(),
        "answering": answering,
        "epoch": survivors.next_epoch().0,
        "recovered": false,
    })
}

fn done(mut plan: Value, answer: &RecoveredAnswer) -> Value {
    plan["recovered"] = json!(true);
    plan["data_dir"] = json!(answer.data_dir.display().to_string());
    plan["epoch"] = json!(answer.epoch.0);
    plan["kept"] = json!(answer.kept.display().to_string());
    plan
}

fn next(best: &Candidate, answer: &RecoveredAnswer) -> String {
    let (name, address) = (&best.config().name, best.config().addresses.advertise);
    let directory = answer.data_dir.display();
    format!(
        "\n{name} is recovered: it votes alone, in epoch {}\n\
         kept      the log and the snapshots as they were, in {}\n\
         \n\
         1. start it                   muslin up --data-dir {directory}\n\
         2. see that it leads          muslin status --addr {address} --identity {directory}\n\
         3. make a token               muslin token create --uses 2 --addr {address} \
         --identity {directory}\n\
         4. on each other machine      muslin join {address} --token TOKEN --data-dir NEW --name \
         NAME ..\n\
         \n\
         whoever was left out and still has its directory may be started as it is: it is admitted\n\
         again, empty, by itself. Never start two of them where {name} cannot be reached.\n",
        answer.epoch,
        answer.kept.display()
    )
}
