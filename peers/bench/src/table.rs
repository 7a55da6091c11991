//! The runs side by side: the median of each engine, and ours as a multiple of it.

use crate::rounds::Runs;
use serde_json::Value;

const HEAD: [&str; 9] = [
    "log",
    "proposers",
    "engine",
    "commits/s",
    "p50 us",
    "p99 us",
    "cpu ms/1000",
    "of ideal",
    "muslin is",
];

/// A Markdown table; the first engine of each size is what the others are measured by.
pub(crate) fn of(rows: &[Runs]) -> String {
    let mut lines = vec![HEAD.map(str::to_string)];
    let mut first: Option<(&str, usize, f64)> = None;
    for row in rows {
        let Some(median) = median(row) else { continue };
        let rate = number(median, "commits_per_second");
        let is_same =
            |(mode, size, _): &(&str, usize, f64)| (*mode, *size) == (row.mode, row.proposers);
        let ours = first.filter(is_same);
        let ratio = ours.map_or("-".to_string(), |(_, _, ours)| format!("{:.2} x", ours / rate));
        first = ours.or(Some((row.mode, row.proposers, rate)));
        let percent = median["percent_of_ideal"].as_f64();
        lines.push([
            row.mode.to_string(),
            row.proposers.to_string(),
            median["engine"].as_str().unwrap_or("?").to_string(),
            format!("{rate:.0}"),
            format!("{:.0}", number(median, "p50_us")),
            format!("{:.0}", number(median, "p99_us")),
            format!("{:.2}", number(median, "cpu_ms_per_1000")),
            percent.map_or("-".to_string(), |percent| format!("{percent:.0} %")),
            ratio,
        ]);
    }
    lines.insert(1, HEAD.map(|_| "---".to_string()));
    lines.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

fn number(document: &Value, name: &str) -> f64 {
    document[name].as_f64().unwrap_or(f64::NAN)
}

/// The run in the middle, by commits a second.
fn median(row: &Runs) -> Option<&Value> {
    let mut documents: Vec<&Value> = row.documents.iter().collect();
    documents.sort_by(|a, b| {
        number(a, "commits_per_second").total_cmp(&number(b, "commits_per_second"))
    });
    documents.get(documents.len().saturating_sub(1) / 2).copied()
}
