//! Outcomes as tables for people.

use super::{Detection, Engine, Lag, Outcome, Plan, Scene};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// One scene with one engine.
pub(crate) struct Row {
    pub(crate) engine: Engine,
    pub(crate) plan: Plan,
    pub(crate) refusal: Option<&'static str>,
    pub(crate) outcome: Option<Outcome>,
}

impl Row {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert_with(Outcome::default).add(outcome);
    }

    fn nodes(&self) -> String {
        match self.plan.slice {
            Some(slice) => format!("{}, slices of {slice}", grouped(self.plan.nodes as f64)),
            None => grouped(self.plan.nodes as f64),
        }
    }

    fn loss(&self) -> String {
        format!("{} %", self.plan.loss_ppm as f64 / 10_000.0)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { scene, nodes, loss_ppm, .. } = &self.plan;
        write!(f, "{} nodes={nodes} loss={loss_ppm} {scene:?}", self.engine.name)?;
        if let Some(slice) = self.plan.slice {
            write!(f, " slice={slice}")?;
        }
        let Some(outcome) = &self.outcome else { return Ok(()) };
        write!(f, " took={:.1}s", outcome.took.as_secs_f64())?;
        write!(f, " events_per_s={:.0}", outcome.events_per_second())?;
        write!(f, " hash={:016x}", outcome.hash)
    }
}

/// All tables.
pub(crate) fn text(rows: &[Row], took: Duration) -> String {
    let mut text = String::new();
    deaths(&mut text, rows);
    slow(&mut text, rows);
    settling(&mut text, rows);
    let outcomes = || rows.iter().filter_map(|row| row.outcome.as_ref());
    let events: u64 = outcomes().map(|outcome| outcome.events).sum();
    let core: f64 = outcomes().map(|outcome| outcome.took.as_secs_f64()).sum();
    let simulated: f64 = outcomes().map(|outcome| outcome.simulated.as_secs_f64()).sum();
    line(
        &mut text,
        format_args!(
            "{} worlds, {:.1} hours, {} steps, {:.0} s of one core ({} a second); {:.0} s",
            outcomes().map(|outcome| outcome.seeds).sum::<u64>(),
            simulated / 3_600.0,
            grouped(events as f64),
            core,
            grouped(events as f64 / core.max(1e-9)),
            took.as_secs_f64()
        ),
    );
    text
}

fn deaths(text: &mut String, rows: &[Row]) {
    let of_deaths = |row: &&Row| matches!(row.plan.scene, Scene::Deaths { .. });
    table(
        text,
        "| nodes | loss | | first knows, s | half know, s | all know, s | false downs/h \
         | suspected/h \
         | B/s a node (sealed) | packets/s | busiest node, B/s \
         | stream probes/h | quiet, min; deaths |",
        rows.iter().filter(of_deaths),
        |row, outcome| {
            let seal = row.engine.seal_bytes;
            format!(
                "{} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {} | {} | {:.0}; {}",
                row.nodes(),
                row.loss(),
                row.engine.name,
                known(&outcome.detections, |it| it.first),
                known(&outcome.detections, |it| it.half),
                known(&outcome.detections, |it| it.all),
                rate(outcome.false_downs_per_hour()),
                rate(outcome.suspicions_per_hour()),
                bytes(outcome, seal),
                outcome.packets_per_second(),
                grouped(outcome.busiest_bytes_per_second()),
                rate(outcome.questions_per_hour()),
                outcome.quiet.as_secs_f64() / 60.0,
                outcome.detections.len()
            )
        },
    );
}

fn slow(text: &mut String, rows: &[Row]) {
    let of_slow = |row: &&Row| matches!(row.plan.scene, Scene::Slow { .. });
    table(
        text,
        "| nodes, 4 % slow | late by | | healthy downs/h | of them seen by healthy ones, in all \
         | slow downs/h | suspected/h | B/s a node (sealed) | all healthy know, s | quiet, min |",
        rows.iter().filter(of_slow),
        |row, outcome| {
            let healthy = outcome.healthy_downs_per_hour();
            let reports = outcome.quiet_books.healthy_reports + outcome.later_books.healthy_reports;
            format!(
                "{} | {} | {} | {} | {reports} | {} | {} | {} | {} | {:.0}",
                row.nodes(),
                lag(row.plan.scene),
                row.engine.name,
                rate(healthy),
                rate(outcome.false_downs_per_hour() - healthy),
                rate(outcome.suspicions_per_hour()),
                bytes(outcome, row.engine.seal_bytes),
                known(&outcome.detections, |it| it.all),
                outcome.quiet.as_secs_f64() / 60.0
            )
        },
    );
}

fn settling(text: &mut String, rows: &[Row]) {
    let of_settling = |row: &&Row| matches!(row.plan.scene, Scene::Heal | Scene::Joins { .. });
    table(
        text,
        "| what | nodes | loss | | all agree after, s | B/s a node meanwhile (sealed) |",
        rows.iter().filter(of_settling),
        |row, outcome| {
            let (what, load) = match row.plan.scene {
                Scene::Joins { newcomers } => {
                    (format!("{newcomers} join at once"), bytes(outcome, row.engine.seal_bytes))
                }
                _ => ("halves come together".to_string(), "-".to_string()),
            };
            format!(
                "{what} | {} | {} | {} | {} | {load}",
                row.nodes(),
                row.loss(),
                row.engine.name,
                spread(outcome.settled.clone())
            )
        },
    );
}

/// A table, unless it would be empty.
fn table<'a>(
    text: &mut String,
    head: &str,
    rows: impl Iterator<Item = &'a Row>,
    cells: impl Fn(&Row, &Outcome) -> String,
) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    line(text, format_args!("{head}"));
    let columns = head.matches('|').count() - 1;
    line(text, format_args!("|{}", " --- |".repeat(columns)));
    for row in rows {
        match (&row.outcome, row.refusal) {
            (Some(outcome), _) => line(text, format_args!("| {} |", cells(row, outcome))),
            (None, Some(why)) => {
                let what = cells(row, &Outcome::default());
                let names: Vec<&str> = what.split(" | ").collect();
                let until = names.iter().position(|cell| *cell == row.engine.name).unwrap_or(0);
                let rest = " |".repeat(columns - until - 2);
                let names = names[..=until].join(" | ");
                line(text, format_args!("| {names} | {why} |{rest}"));
            }
            (None, None) => line(text, format_args!("| {row}: an invariant was broken |")),
        }
    }
    line(text, format_args!(""));
}

fn line(text: &mut String, words: fmt::Arguments<'_>) {
    let written = writeln!(text, "{words}");
    written.expect("a string takes everything");
}

fn lag(scene: Scene) -> String {
    let Scene::Slow { lag: Lag { reads, sends }, .. } = scene else { return String::new() };
    let what = if sends.is_zero() { "reading" } else { "reading and sending" };
    format!("{} s {what}", reads.as_secs())
}

fn known(detections: &[Detection], of: impl Fn(&Detection) -> Option<Duration>) -> String {
    spread(detections.iter().map(of).collect())
}

/// Median and worst. What never came is worse than all that did.
fn spread(mut times: Vec<Option<Duration>>) -> String {
    times.sort_by_key(|time| time.unwrap_or(Duration::MAX));
    let show = |time: Option<&Option<Duration>>| match time {
        Some(Some(time)) => format!("{:.1}", time.as_secs_f64()),
        Some(None) => "never".to_string(),
        None => "-".to_string(),
    };
    format!("{} ({})", show(times.get(times.len() / 2)), show(times.last()))
}

fn bytes(outcome: &Outcome, seal: usize) -> String {
    let plain = grouped(outcome.bytes_per_second(0));
    match seal {
        0 => plain,
        _ => format!("{plain} ({})", grouped(outcome.bytes_per_second(seal))),
    }
}

/// Small rates with a digit behind the point.
fn rate(number: f64) -> String {
    if number > 0.0 && number < 10.0 { format!("{number:.1}") } else { grouped(number) }
}

/// A whole number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
