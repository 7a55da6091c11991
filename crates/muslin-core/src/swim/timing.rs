//! How long a suspicion lasts and how often a rumor is sent: functions of the cluster's size, in
//! integers.

use super::Options;
use core::time::Duration;

/// Independent accusers, beyond the first, that bring a suspicion down to its shortest time
/// (Lifeguard, section IV-B).
pub(super) const CONFIRMATIONS: usize = 2;

/// A suspicion nobody confirms lasts this many times the shortest (Lifeguard, section IV-B).
const UNCONFIRMED_FACTOR: u32 = 6;

/// What is left of the extra time after one of two confirmations, in thousandths:
/// 1 - ln(2) / ln(3).
const LEFT_AFTER_ONE: u32 = 369;

/// The logarithm below counts in these.
const LOG_UNIT: u32 = 1 << 10;

/// How long a suspicion lasts from its beginning, in a cluster of `size`, with so many
/// confirmations.
pub(super) fn suspicion_time(options: &Options, size: usize, confirmations: usize) -> Duration {
    // In a small cluster hardly anybody is left to confirm, so that waiting for it would only
    // delay.
    let can_be_confirmed = size >= CONFIRMATIONS + 3;
    let shortest = shortest_suspicion(options, size);
    let extra = shortest * (UNCONFIRMED_FACTOR - 1);
    match confirmations {
        0 if can_be_confirmed => shortest + extra,
        1 if can_be_confirmed => shortest + extra * LEFT_AFTER_ONE / 1_000,
        _ => shortest,
    }
}

fn shortest_suspicion(options: &Options, size: usize) -> Duration {
    let log = log10(size as u64 + 1).max(LOG_UNIT);
    options.probe_period * options.suspicion_multiplier * log / LOG_UNIT
}

/// How often one rumor is sent by one node of a cluster of `size`.
pub(super) fn retransmit_limit(options: &Options, size: usize) -> u32 {
    options.retransmit_multiplier * ceil_log10(size as u64 + 1)
}

/// The smallest `n >= 1` with `10^n >= number`.
fn ceil_log10(number: u64) -> u32 {
    assert!(number > 0, "zero has no logarithm");
    (number - 1).max(1).ilog10() + 1
}

/// Logarithm to base ten, in [`LOG_UNIT`]ths, rounded down.
fn log10(number: u64) -> u32 {
    assert!(number > 0, "zero has no logarithm");
    let whole = number.ilog10();
    // The rest is in 1..10. Squaring it doubles its logarithm: each time that exceeds one is a bit.
    let mut rest = u128::from(number) << 32;
    rest /= 10_u128.pow(whole);
    let mut fraction = 0;
    for _ in 0..LOG_UNIT.ilog2() {
        rest = (rest * rest) >> 32;
        fraction <<= 1;
        if rest >= 10 << 32 {
            rest /= 10;
            fraction |= 1;
        }
    }
    whole * LOG_UNIT + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_agree_with_the_book() {
        let book = [(1, 0), (2, 308), (3, 488), (10, 1024), (101, 2052), (1_000, 3072)];
        for (number, expected) in book {
            assert_eq!(log10(number), expected, "log10({number})");
        }
        let ceilings = [(1, 1), (2, 1), (10, 1), (11, 2), (100, 2), (101, 3), (1_001, 4)];
        for (number, expected) in ceilings {
            assert_eq!(ceil_log10(number), expected, "ceil(log10({number}))");
        }
    }

    #[test]
    fn three_nodes_wait_three_periods_and_a_hundred_wait_for_accusers() {
        let fast = Options::fast();
        let millis = |size, seen| suspicion_time(&fast, size, seen).as_millis();
        assert_eq!([0, 1, 2].map(|seen| millis(3, seen)), [750, 750, 750]);
        assert_eq!([0, 1, 2, 9].map(|seen| millis(100, seen)), [9017, 4275, 1502, 1502]);
    }
}
