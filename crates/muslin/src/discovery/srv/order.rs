//! In which order targets are tried (RFC 2782).

use super::message::Target;
use ring::rand::{SecureRandom, SystemRandom};

/// Lower priorities first; among equals drawn by weight. `draw(n)` gives a number from 0 to `n`.
pub(super) fn ordered(mut targets: Vec<Target>, draw: &mut impl FnMut(u32) -> u32) -> Vec<Target> {
    // Those without weight stand first, so that they have a small chance (RFC 2782).
    targets.sort_by_key(|target| (target.priority, target.weight));
    let mut ordered = Vec::with_capacity(targets.len());
    while let Some(first) = targets.first() {
        let priority = first.priority;
        let equals = targets.iter().take_while(|target| target.priority == priority).count();
        let sum = targets[..equals].iter().map(|target| u32::from(target.weight)).sum();
        let mut left = draw(sum).min(sum);
        let chosen = targets[..equals].iter().position(|target| {
            let is_it = u32::from(target.weight) >= left;
            left = left.saturating_sub(target.weight.into());
            is_it
        });
        ordered.push(targets.remove(chosen.expect("the weights sum up to what was drawn from")));
    }
    ordered
}

/// A number from 0 to `most` by the system's generator.
pub(super) fn drawn(most: u32) -> u32 {
    let mut bytes = [0; 8];
    // Without random bytes the first of equals is taken.
    let _ = SystemRandom::new().fill(&mut bytes);
    let below = u64::from(most) + 1;
    u32::try_from(u64::from_be_bytes(bytes) % below).expect("below a number of 33 bits' lower part")
}
