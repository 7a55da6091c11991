//! What may never happen, looked at from outside at every step.

use super::{Seat, Sight};
use std::collections::{HashMap, HashSet};

/// The invariants M1 and M2 of `muslin_core::swim`, and the bounds of what it sends and holds.
///
/// Hashed maps are safe for sameness: they are only asked, never walked through.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Each node's own incarnation.
    lives: Vec<u64>,
    /// The latest life in which one was seen by another; those never spoken of are left out.
    seen: HashMap<(Seat, Seat), u64>,
    /// Lives that somebody suspected.
    accused: HashSet<(Seat, u64)>,
}

/// Which invariant, and the facts against it.
pub(crate) type Broken = (&'static str, String);

impl Rules {
    /// A node begins, with nothing behind it.
    pub(crate) fn begin(&mut self, seat: Seat) {
        self.lives.resize(self.lives.len().max(seat.index() + 1), 0);
        self.lives[seat.index()] = 0;
        self.seen.retain(|(by, _), _| *by != seat);
    }

    /// M2 for a node itself.
    pub(crate) fn check_life(&mut self, seat: Seat, life: u64) -> Result<(), Broken> {
        let before = std::mem::replace(&mut self.lives[seat.index()], life);
        if life < before {
            return Err(("M2", format!("n{} went back from life {before} to {life}", seat.0)));
        }
        Ok(())
    }

    /// M1 and M2 for what one says of another.
    pub(crate) fn check(&mut self, by: Seat, of: Seat, sight: Sight) -> Result<(), Broken> {
        let life = match sight {
            Sight::Alive { life } | Sight::Suspect { life, .. } | Sight::Down { life } => life,
            Sight::Left | Sight::Renewed => return Ok(()),
        };
        let before = self.seen.insert((by, of), life).unwrap_or(0);
        if life < before {
            let facts = format!("n{} knew life {before} of n{}, and says {sight:?}", by.0, of.0);
            let invariant = if matches!(sight, Sight::Down { .. }) { "M1" } else { "M2" };
            return Err((invariant, facts));
        }
        match sight {
            Sight::Suspect { .. } => {
                self.accused.insert((of, life));
            }
            Sight::Down { .. } if !self.accused.contains(&(of, life)) => {
                let facts = format!("n{} takes n{} for dead in life {life}", by.0, of.0);
                return Err(("M1", facts + ", in which nobody suspected it"));
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn check_bytes(from: Seat, bytes: usize, most: usize) -> Result<(), Broken> {
        if bytes > most {
            return Err(("packet", format!("n{} sends {bytes} bytes, above {most}", from.0)));
        }
        Ok(())
    }
}
