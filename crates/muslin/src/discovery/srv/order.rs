//! In which order services are tried (RFC 2782).

use super::message::Service;
use ring::rand::{SecureRandom, SystemRandom};

/// Lower priorities first; among equals drawn by weight. `draw(n)` gives a number from 0 to `n`.
pub(super) fn ordered(
    mut services: Vec<Service>,
    draw: &mut impl FnMut(u32) -> u32,
) -> Vec<Service> {
    // Those without weight stand first, so that they have a small chance (RFC 2782).
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let priority = first.priority;
        let equals = services.iter().take_while(|service| service.priority == priority).count();
        let sum = services[..equals].iter().map(|service| u32::from(service.weight)).sum();
        let mut left = draw(sum).min(sum);
        let chosen = services[..equals].iter().position(|service| {
            let is_it = u32::from(service.weight) >= left;
            left = left.saturating_sub(service.weight.into());
            is_it
        });
        ordered.push(services.remove(chosen.expect("the weights sum up to what was drawn from")));
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
