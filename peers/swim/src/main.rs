//! Muslin's failure detector and foca's, side by side in the same worlds.

mod foca_seat;

use foca_seat::{AsPublished, FocaSeat, Tuned};
use muslin_sim::swim::{Engine, Ours, Plan, campaign};
use std::process::ExitCode;

fn main() -> ExitCode {
    // One line for a panic: it becomes a violation, and the seed replays it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let engines = [
        Engine::of::<Ours>(),
        Engine::of::<FocaSeat<AsPublished>>().except(refusal),
        Engine::of::<FocaSeat<Tuned>>().except(refusal),
    ];
    campaign(&engines, std::env::args().skip(1))
}

fn refusal(plan: &Plan) -> Option<&'static str> {
    plan.slice.map(|_| "has no partial views")
}
