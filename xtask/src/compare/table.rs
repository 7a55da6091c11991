//! Medians, ratios, and what was missed.

use super::options::Options;
use super::rows::{ROWS, Row};
use super::servers::Side;
use std::collections::BTreeMap;

/// Every figure that was measured.
#[derive(Default)]
pub(super) struct Samples(BTreeMap<(&'static str, Side), Vec<f64>>);

/// A row with both figures.
pub(super) struct Judged {
    pub(super) row: Row,
    pub(super) etcd: Figures,
    pub(super) muslin: Figures,
}

/// What a side came to in a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Figures {
    pub(super) median: f64,
    least: f64,
    most: f64,
    count: usize,
}

impl Figures {
    fn of(mut samples: Vec<f64>) -> Option<Figures> {
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let median = match samples.len() % 2 {
            1 => samples[middle],
            _ => (samples.get(middle.checked_sub(1)?)? + samples[middle]) / 2.0,
        };
        let (least, most) = (*samples.first()?, *samples.last()?);
        Some(Figures { median, least, most, count: samples.len() })
    }

    /// The median, and in brackets from where to where the figures are.
    pub(super) fn words(self) -> String {
        match self.count {
            1 => number(self.median),
            _ => {
                let (median, least, most) =
                    (number(self.median), number(self.least), number(self.most));
                format!("{median} ({least}-{most})")
            }
        }
    }
}

impl Judged {
    /// Muslin's figure in etcd's.
    pub(super) fn ratio(&self) -> f64 {
        self.muslin.median / self.etcd.median.max(f64::MIN_POSITIVE)
    }

    /// `ok`, or `MISSED`.
    pub(super) fn verdict(&self) -> &'static str {
        match self.row.asked.is_met(self.etcd.median, self.muslin.median) {
            true => "ok",
            false => "MISSED",
        }
    }
}

impl Samples {
    /// One figure more.
    pub(super) fn add(&mut self, row: &'static str, side: Side, figure: f64) {
        self.0.entry((row, side)).or_default().push(figure);
    }

    /// The rows that were wanted and measured on both sides.
    pub(super) fn rows<'a>(&'a self, options: &'a Options) -> impl Iterator<Item = Judged> + 'a {
        let figures = |row: &Row, side| Figures::of(self.0.get(&(row.name, side))?.clone());
        ROWS.iter().filter(|row| options.wants(row)).filter_map(move |row| {
            let (etcd, muslin) = (figures(row, Side::Etcd)?, figures(row, Side::Muslin)?);
            Some(Judged { row: *row, etcd, muslin })
        })
    }

    /// Names of the rows that are not as asked.
    pub(super) fn missed(&self, options: &Options) -> Vec<&'static str> {
        let missed = self.rows(options).filter(|judged| judged.verdict() != "ok");
        missed.map(|judged| judged.row.name).collect()
    }

    /// For a terminal.
    pub(super) fn text(&self, options: &Options) -> String {
        let mut text = format!(
            "{:<12} {:<47} {:>22} {:>22} {:>8}  {:<10} \n",
            "row", "what", "etcd", "muslin", "ratio", "asked"
        );
        for judged in self.rows(options) {
            let Row { name, what, unit, asked, .. } = judged.row;
            let with_unit = |figures: Figures| format!("{} {unit}", figures.words());
            let (etcd, muslin) = (with_unit(judged.etcd), with_unit(judged.muslin));
            let (ratio, asked) = (judged.ratio(), asked.words(unit));
            text += &format!(
                "{name:<12} {what:<47} {etcd:>22} {muslin:>22} {ratio:>6.2} x  {asked:<10} {}\n",
                judged.verdict()
            );
        }
        text
    }
}

/// With as many digits as say something, and commas.
pub(super) fn number(figure: f64) -> String {
    match figure {
        ..10.0 => format!("{figure:.2}"),
        ..100.0 => format!("{figure:.1}"),
        _ => {
            let digits = format!("{figure:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ratios_and_verdicts() {
        let options = Options::parse(&["--rows".to_string(), "put-1,kill,idle".to_string()]);
        let options = options.unwrap();
        let mut samples = Samples::default();
        for (etcd, muslin) in [(1_000.0, 1_700.0), (1_100.0, 900.0), (900.0, 1_650.0)] {
            samples.add("put-1", Side::Etcd, etcd);
            samples.add("put-1", Side::Muslin, muslin);
        }
        for (side, ms) in [(Side::Etcd, 1_450.0), (Side::Muslin, 300.0), (Side::Muslin, 600.0)] {
            samples.add("kill", side, ms);
        }
        samples.add("idle", Side::Etcd, 26.0);
        let rows: Vec<Judged> = samples.rows(&options).collect();
        assert_eq!(rows.len(), 2, "what one side has not measured is no row");
        assert_eq!((rows[0].etcd.median, rows[0].muslin.median), (1_000.0, 1_650.0));
        assert_eq!((rows[0].ratio(), rows[0].verdict()), (1.65, "ok"));
        assert_eq!((rows[1].muslin.median, rows[1].verdict()), (450.0, "MISSED"));
        assert_eq!(samples.missed(&options), ["kill"]);
        let text = samples.text(&options);
        assert!(text.contains("1,650 (900-1,700) /s") && text.contains("1,450 ms"), "{text}");
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let told = [0.123, 9.9, 12.34, 123.4, 1_234.5, 1_234_567.0].map(number);
        assert_eq!(told, ["0.12", "9.90", "12.3", "123", "1,234", "1,234,567"]);
        assert_eq!(Figures::of(Vec::new()), None);
    }
}
