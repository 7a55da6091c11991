//! Small worlds of every kind, in seconds.

use super::*;
use std::time::Duration;

const HUNDRED: Plan = Plan {
    scene: Scene::Deaths { quiet: Duration::from_secs(60), kills: 2 },
    nodes: 100,
    slice: None,
    loss_ppm: 10_000,
    is_fast: false,
};

fn run(plan: &Plan, seed: u64) -> Outcome {
    plan.run::<Ours>(seed).unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn the_same_seed_is_the_same_world() {
    let plan = Plan { nodes: 30, ..HUNDRED };
    let (first, second) = (run(&plan, 5), run(&plan, 5));
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.detections, second.detections);
    assert_ne!(first.hash, run(&plan, 6).hash);
}

#[test]
fn a_hundred_know_of_a_death_and_take_no_live_one_for_dead() {
    for seed in 1..=2 {
        let outcome = run(&HUNDRED, seed);
        assert_eq!(outcome.detections.len(), 2);
        assert!(outcome.detections.iter().all(|it| it.all.is_some()), "{outcome:?}");
        assert_eq!(outcome.quiet_books.false_downs + outcome.later_books.false_downs, 0);
    }
}

#[test]
fn slow_machines_do_not_kill_healthy_ones() {
    let late = Duration::from_secs(10);
    let lag = Lag { reads: late, sends: late };
    let scene = Scene::Slow { lag, quiet: Duration::from_secs(120), kills: 1 };
    let outcome = run(&Plan { scene, loss_ppm: 0, ..HUNDRED }, 1);
    assert_eq!(outcome.quiet_books.healthy_downs + outcome.later_books.healthy_downs, 0);
}

#[test]
fn halves_that_gave_each_other_up_come_together() {
    let outcome = run(&Plan { scene: Scene::Heal, ..HUNDRED }, 1);
    assert!(outcome.settled.iter().all(Option::is_some), "{outcome:?}");
}

#[test]
fn thirty_that_join_at_once_are_known_to_all() {
    let outcome = run(&Plan { scene: Scene::Joins { newcomers: 30 }, ..HUNDRED }, 1);
    assert!(outcome.settled.iter().all(Option::is_some), "{outcome:?}");
}

#[test]
fn small_clusters_come_out_of_any_trouble() {
    for seed in 1..=8 {
        let storm = Storm { lasts: Duration::from_secs(30) };
        storm.run::<Ours>(seed).unwrap_or_else(|violation| panic!("{violation}"));
    }
}
