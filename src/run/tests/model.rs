//! Random plans, played in random order, with and without restarts: always what the reference says.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::player::{self, Dice, Player};
use super::reference;
use crate::flow::plan::Plan;

/// Plays a run to its end; `restarts` says before which turn the process dies.
fn play<'a>(plan: &'a Plan, seed: u64, order: u64, restarts: &dyn Fn(usize) -> bool) -> (Player<'a>, usize) {
    let mut dice = Dice::new(order);
    let mut player = Player::new(plan, seed);
    let mut turns = 0;
    loop {
        if restarts(turns) && player.run.settled.is_none() {
            player.restart(&mut dice);
        }
        if !player.turn(&mut dice) {
            return (player, turns);
        }
        turns += 1;
    }
}

fn agrees(plan: &Plan, seed: u64, player: &Player<'_>) -> Result<(), TestCaseError> {
    let (statuses, status) = reference::outcome(plan, seed);
    prop_assert_eq!(player.statuses(), statuses);
    prop_assert_eq!(player.run.settled, Some(status));
    Ok(())
}

/// The random plans are worth the name: every kind, nested three deep, every status, both ends of a run.
#[test]
fn random_plans_hold_everything() {
    let (mut kinds, mut statuses, mut ends) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut deepest, mut longest) = (0, 0);
    for seed in 0..500 {
        let plan = player::plan(&mut Dice::new(seed));
        kinds.extend(plan.nodes.iter().map(|node| format!("{:?}", node.kind)));
        deepest = (0..plan.nodes.len()).map(|id| plan.containers(id).count()).max().unwrap_or(0).max(deepest);
        let (ended, status) = reference::outcome(&plan, seed);
        statuses.extend(ended.values().map(|status| status.as_str()));
        ends.insert(status.as_str());
        let (_, turns) = play(&plan, seed, seed, &|_| false);
        longest = longest.max(turns);
    }
    assert_eq!(kinds.len(), 8, "leaf, if, switch, each by concurrency, until, scope: {kinds:?}");
    assert_eq!(statuses, BTreeSet::from(["succeeded", "failed", "skipped", "timed_out"]));
    assert_eq!((ends.len(), deepest), (2, 3));
    assert!(longest > 50, "the longest run has {longest} turns");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Whatever the order of events: the statuses of all steps and of the run, and each start said once.
    #[test]
    fn any_order_ends_as_the_reference_says(shape in any::<u64>(), seed in any::<u64>(), order in any::<u64>()) {
        let plan = player::plan(&mut Dice::new(shape));
        let (player, _) = play(&plan, seed, order, &|_| false);
        agrees(&plan, seed, &player)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// A restart at any point, and one at every point: the same end.
    #[test]
    fn restarts_change_nothing(shape in any::<u64>(), seed in any::<u64>(), order in any::<u64>()) {
        let plan = player::plan(&mut Dice::new(shape));
        let (_, turns) = play(&plan, seed, order, &|_| false);
        for point in 0..turns {
            let (player, _) = play(&plan, seed, order, &|turn| turn == point);
            agrees(&plan, seed, &player)?;
        }
        // The store knows more after each turn, so a run that dies at every second one still ends.
        let (player, _) = play(&plan, seed, order, &|turn| turn % 2 == 1);
        agrees(&plan, seed, &player)?;
    }
}
