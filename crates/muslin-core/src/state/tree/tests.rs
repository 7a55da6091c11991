//! The tree against the one of the standard library.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<u16, Number>;

/// Live when it is even.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number(u8);

impl Live for Number {
    fn is_live(&self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// What happens to a tree.
#[derive(Clone, Debug)]
enum Step {
    /// So many keys from this one on.
    Insert(u16, u16, u8),
    Update(u16, u8),
    Remove(u16, u16),
    CutBefore(u16),
    /// Somebody keeps what is there.
    Keep,
    /// It is built anew of what is there.
    Rebuild,
}

const KEYS: u16 = 3_000;

fn any_step() -> impl Strategy<Value = Step> {
    let run = || prop_oneof![4 => Just(1_u16), 1 => 1..200_u16];
    prop_oneof![
        8 => (0..KEYS, run(), any::<u8>()).prop_map(|(key, run, v)| Step::Insert(key, run, v)),
        3 => (0..KEYS, any::<u8>()).prop_map(|(key, value)| Step::Update(key, value)),
        6 => (0..KEYS, run()).prop_map(|(key, run)| Step::Remove(key, run)),
        1 => (0..KEYS / 4).prop_map(Step::CutBefore),
        1 => Just(Step::Keep),
        1 => Just(Step::Rebuild),
    ]
}

fn built(model: &Model) -> Tree<u16, Number> {
    let mut builder = Builder::default();
    for (key, value) in model {
        builder.push(*key, *value);
        assert_eq!(builder.last(), Some(&(*key, *value)));
    }
    builder.finish()
}

fn take(tree: &mut Tree<u16, Number>, model: &mut Model, step: &Step) {
    match *step {
        Step::Insert(from, run, value) => {
            for key in from..from + run {
                assert_eq!(tree.insert(key, Number(value)), model.insert(key, Number(value)));
            }
        }
        Step::Update(key, value) => {
            let before = model.get_mut(&key).map(|it| core::mem::replace(it, Number(value)));
            let told = tree.update(&key, |_, it| core::mem::replace(it, Number(value)));
            assert_eq!(told, before);
        }
        Step::Remove(from, run) => {
            for key in from..from + run {
                assert_eq!(tree.remove(&key), model.remove_entry(&key));
            }
        }
        Step::CutBefore(key) => {
            tree.cut_before(&key);
            *model = model.split_off(&key);
        }
        Step::Keep => {}
        Step::Rebuild => *tree = built(model),
    }
}

fn counts(model: &Model) -> Counts {
    model.values().map(Counts::of).sum()
}

/// The invariants of the module; the keys below, their counts and how deep they are.
fn check_node(node: &Node<u16, Number>) -> (Vec<u16>, Counts, usize) {
    match node {
        Node::Leaf(entries) => {
            assert!((1..=FULL).contains(&entries.len()));
            assert!(entries.capacity() <= FULL + GROWTH, "{} has room", entries.capacity());
            let counts = entries.iter().map(|(_, value)| Counts::of(value)).sum();
            (entries.iter().map(|(key, _)| *key).collect(), counts, 1)
        }
        Node::Inner(branches) => {
            assert!((1..=FULL).contains(&branches.len()));
            let (mut keys, mut sum, mut depths) = (Vec::new(), Counts::default(), Vec::new());
            for (place, branch) in branches.iter().enumerate() {
                let (below, counts, depth) = check_node(&branch.node);
                assert_eq!(counts, branch.counts);
                let is_bound = |key: &u16| {
                    let next = branches.get(place + 1);
                    (place == 0 || *key >= branch.least)
                        && next.is_none_or(|next| *key < next.least)
                };
                assert!(below.iter().all(is_bound));
                keys.extend(below);
                sum += counts;
                depths.push(depth);
            }
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            (keys, sum, depths[0] + 1)
        }
    }
}

fn check(tree: &Tree<u16, Number>, model: &Model) {
    let (keys, sum, _) = match &tree.root {
        Some(root) => check_node(root),
        None => (Vec::new(), Counts::default(), 0),
    };
    assert!(keys.is_sorted_by(|one, next| one < next));
    assert_eq!((tree.counts(), tree.is_empty()), (sum, model.is_empty()));
    assert_eq!(sum, counts(model));
    assert!(tree.iter().eq(model.iter()));
    assert!(tree.iter().rev().eq(model.iter().rev()));
    let middle = model.len() / 2;
    assert_eq!(tree.nth(middle), model.iter().nth(middle));
    assert_eq!(tree.nth(model.len()), None);
}

fn any_bound() -> impl Strategy<Value = Bound<u16>> {
    prop_oneof![
        3 => (0..KEYS).prop_map(Bound::Included),
        3 => (0..KEYS).prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ]
}

fn is_within(key: u16, from: Bound<u16>, to: Bound<u16>) -> bool {
    (match from {
        Bound::Included(from) => from <= key,
        Bound::Excluded(from) => from < key,
        Bound::Unbounded => true,
    }) && match to {
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
        Bound::Unbounded => true,
    }
}

proptest! {
    #[test]
    fn it_is_the_map_of_the_standard_library_and_its_copies_never_change(
        steps in prop::collection::vec(any_step(), 0..120),
    ) {
        let (mut tree, mut model) = (Tree::default(), Model::new());
        let mut kept = Vec::new();
        for step in &steps {
            take(&mut tree, &mut model, step);
            if let Step::Keep = step {
                kept.push((tree.clone(), model.clone()));
            }
            prop_assert_eq!(tree.counts(), counts(&model));
        }
        check(&tree, &model);
        for (tree, model) in &kept {
            check(tree, model);
        }
        if let Some((mut tree, mut model)) = kept.pop() {
            // A copy can be written like any other.
            steps.iter().for_each(|step| take(&mut tree, &mut model, step));
            check(&tree, &model);
        }
        for key in 0..KEYS {
            prop_assert_eq!(tree.get(&key), model.get_key_value(&key));
        }
    }

    #[test]
    fn ranges_are_told_and_counted_from_both_ends(
        runs in prop::collection::vec((0..KEYS, 1..300_u16, any::<u8>()), 0..12),
        ranges in prop::collection::vec((any_bound(), any_bound()), 1..20),
        ends in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let (mut tree, mut model) = (Tree::default(), Model::new());
        for (from, run, value) in runs {
            take(&mut tree, &mut model, &Step::Insert(from, run, value));
        }
        for (from, to) in ranges {
            let wanted: Vec<(u16, Number)> = model
                .iter()
                .filter(|(key, _)| is_within(**key, from, to))
                .map(|(key, value)| (*key, *value))
                .collect();
            let live: Vec<(u16, Number)> =
                wanted.iter().copied().filter(|(_, value)| value.is_live()).collect();
            let (from, to) = (from.as_ref(), to.as_ref());
            let counted = Counts { all: wanted.len(), live: live.len() };
            prop_assert_eq!(tree.count(from, to), counted);
            let ranges = [(tree.range(from, to), wanted), (tree.live_range(from, to), live)];
            for (mut range, wanted) in ranges {
                prop_assert_eq!(range.len(), wanted.len());
                let mut wanted = wanted.iter().map(|(key, value)| (key, value));
                for is_first in ends.iter().cycle() {
                    let (told, next) = if *is_first {
                        (range.next(), wanted.next())
                    } else {
                        (range.next_back(), wanted.next_back())
                    };
                    prop_assert_eq!(told, next);
                    if told.is_none() {
                        break;
                    }
                }
                prop_assert!(range.next().is_none() && range.next_back().is_none());
            }
        }
    }
}

/// Copied by nobody.
#[derive(Debug)]
struct Single;

impl Clone for Single {
    fn clone(&self) -> Single {
        panic!("a tree of which there is one copy is changed in place");
    }
}

impl Live for Single {
    fn is_live(&self) -> bool {
        true
    }
}

#[test]
fn a_tree_that_nobody_shares_is_changed_in_place() {
    let mut tree = Tree::default();
    let scattered = || (0..5_000_u32).map(|number| number.wrapping_mul(2_654_435_761) >> 8);
    for key in scattered() {
        tree.insert(key, Single);
    }
    for key in scattered().step_by(2) {
        assert!(tree.remove(&key).is_some());
    }
    tree.cut_before(&(1 << 22));
    assert!(tree.iter().all(|(key, _)| *key >= 1 << 22));
}

#[test]
fn what_comes_in_order_leaves_full_leaves() {
    let mut tree = Tree::default();
    for key in 0..10_000_u32 {
        tree.insert(key, ());
    }
    fn leaves<V>(node: &Node<u32, V>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(branches) => branches.iter().map(|branch| leaves(&branch.node)).sum(),
        }
    }
    let leaves = leaves(tree.root.as_deref().unwrap());
    assert_eq!(leaves, 10_000_usize.div_ceil(FULL));
}

#[test]
fn a_write_copies_the_nodes_on_its_way_and_shares_all_others() {
    let mut builder = Builder::default();
    (0..100_000_u32).for_each(|key| builder.push(key, ()));
    let mut tree = builder.finish();
    let kept = tree.clone();
    tree.insert(200_000, ());
    fn nodes<V>(node: &Arc<Node<u32, V>>, found: &mut Vec<*const Node<u32, V>>) {
        found.push(Arc::as_ptr(node));
        if let Node::Inner(branches) = &**node {
            branches.iter().for_each(|branch| nodes(&branch.node, found));
        }
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    nodes(kept.root.as_ref().unwrap(), &mut before);
    nodes(tree.root.as_ref().unwrap(), &mut after);
    let copied = after.iter().filter(|node| !before.contains(node)).count();
    assert!(copied <= 5, "{copied} of {} nodes", after.len());
}
