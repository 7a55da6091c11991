//! An ordered map of which a copy costs nothing.
//!
//! A B+tree whose nodes are shared between the copies of a tree until one of them writes: whoever
//! holds a copy reads what was there when it was made, for as long as it likes, and the others pay
//! for that with a copy of the nodes they change, once each. A tree of which there is one copy is
//! changed in place.
//!
//! Every branch knows how many entries are below it, and how many of these are live: counting a
//! range, or going to an end of it, takes a walk down the tree and none along it.
//!
//! # Invariants
//! 1. Keys ascend; what is below a branch is not before the branch's `least`, except below the
//!    first of a node, and before the `least` of the branch after it.
//! 2. A branch's counts are those of what is below it, and no branch is empty.
//! 3. All leaves are equally deep.

mod walk;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::ops::{Add, AddAssign, Bound, Sub, SubAssign};

use walk::Edge;
pub(super) use walk::Iter;

/// Most entries of a leaf, and most branches of a node above: few enough that copying one for a
/// write takes about a microsecond, enough that a million keys are four levels.
const FULL: usize = 32;

/// A node from which something was taken, and that has fewer left, is joined with a neighbour.
const POOR: usize = 8;

/// Entries by which a leaf that has no room grows. Doubling would leave a third of it empty.
const GROWTH: usize = 8;

/// Branches left to the new node when one that grows at its end is split: those before stay full.
const SPLIT_AT_END: usize = 4;

/// What is counted apart: whether an entry is one that the counts of live ones take in.
pub(super) trait Live {
    /// Whether it is.
    fn is_live(&self) -> bool;
}

impl Live for () {
    fn is_live(&self) -> bool {
        true
    }
}

/// How many entries there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    /// In all.
    pub(super) all: usize,
    /// Live ones.
    pub(super) live: usize,
}

impl Counts {
    /// Of one entry.
    pub(super) fn of<V: Live>(value: &V) -> Counts {
        Counts { all: 1, live: usize::from(value.is_live()) }
    }
}

impl Add for Counts {
    type Output = Counts;

    fn add(self, more: Counts) -> Counts {
        Counts { all: self.all + more.all, live: self.live + more.live }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, less: Counts) -> Counts {
        Counts { all: self.all - less.all, live: self.live - less.live }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        *self = *self + more;
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, less: Counts) {
        *self = *self - less;
    }
}

impl core::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        counts.fold(Counts::default(), Counts::add)
    }
}

/// The map.
pub(super) struct Tree<K, V> {
    root: Option<Arc<Node<K, V>>>,
    counts: Counts,
}

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    Inner(Vec<Branch<K, V>>),
}

struct Branch<K, V> {
    least: K,
    counts: Counts,
    node: Arc<Node<K, V>>,
}

impl<K: Clone, V> Clone for Branch<K, V> {
    fn clone(&self) -> Branch<K, V> {
        let Branch { least, counts, node } = self;
        Branch { least: least.clone(), counts: *counts, node: Arc::clone(node) }
    }
}

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Tree<K, V> {
        Tree { root: self.root.clone(), counts: self.counts }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Tree<K, V> {
        Tree { root: None, counts: Counts::default() }
    }
}

impl<K: PartialEq, V: PartialEq + Live> PartialEq for Tree<K, V> {
    fn eq(&self, other: &Tree<K, V>) -> bool {
        self.counts == other.counts && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq + Live> Eq for Tree<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug + Live> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Reading.
impl<K, V: Live> Tree<K, V> {
    /// How many entries there are.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The entry of a key.
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Inner(branches) => node = &branches[place_of(branches, key)].node,
                Node::Leaf(entries) => {
                    let place = find(entries, key).ok()?;
                    let (key, value) = &entries[place];
                    return Some((key, value));
                }
            }
        }
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(self.root.as_deref(), self.counts)
    }

    /// The entries of a range, in order. One that ends before it begins has none.
    pub(super) fn range<Q: Ord + ?Sized>(&self, from: Bound<&Q>, to: Bound<&Q>) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        Iter::between(self.root.as_deref(), Edge::lower(from), Edge::upper(to))
    }

    /// Of the entries of a range those that are live, without looking at all others one by one.
    pub(super) fn live_range<Q: Ord + ?Sized>(
        &self,
        from: Bound<&Q>,
        to: Bound<&Q>,
    ) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        self.range(from, to).only_live()
    }

    /// How many entries a range has, in steps as many as the tree is high.
    pub(super) fn count<Q: Ord + ?Sized>(&self, from: Bound<&Q>, to: Bound<&Q>) -> Counts
    where
        K: Borrow<Q>,
    {
        self.range(from, to).counts()
    }

    /// The entry that so many are before.
    pub(super) fn nth(&self, before: usize) -> Option<(&K, &V)> {
        let root = self.root.as_deref().filter(|_| before < self.counts.all)?;
        let (key, value) = walk::nth(root, before)?;
        Some((key, value))
    }
}

/// Writing.
impl<K: Ord + Clone, V: Clone + Live> Tree<K, V> {
    /// Shows `change` what is there of a key, to be changed in place; where there is nothing, puts
    /// in what it answers with. One walk for both.
    ///
    /// # Panics
    /// When something is to be put in where something is.
    pub(super) fn change<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        change: impl FnOnce(Option<(&K, &mut V)>) -> (R, Option<(K, V)>),
    ) -> R
    where
        K: Borrow<Q>,
    {
        let Some(root) = &mut self.root else {
            let (answer, entry) = change(None);
            if let Some((key, value)) = entry {
                self.counts = Counts::of(&value);
                self.root = Some(Arc::new(Node::Leaf(vec![(key, value)])));
            }
            return answer;
        };
        let Changed { answer, less, more, split } = change_in(root, key, change);
        self.counts += more;
        self.counts -= less;
        if let Some(right) = split {
            let left = Arc::clone(root);
            let least = left.least().clone();
            let counts = self.counts - right.counts;
            let mut branches = Vec::with_capacity(FULL);
            // Its other holder goes at once: the node is not shared.
            branches.push(Branch { least, counts, node: left });
            branches.push(right);
            *root = Arc::new(Node::Inner(branches));
        }
        answer
    }

    /// Puts an entry in. What was there of its key.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = key.clone();
        self.change(&place, |slot| match slot {
            Some((_, present)) => (Some(core::mem::replace(present, value)), None),
            None => (None, Some((key, value))),
        })
    }

    /// Changes what is there of a key, if there is something.
    pub(super) fn update<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        change: impl FnOnce(&K, &mut V) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
    {
        // Nodes are not copied for what is not there.
        self.get(key)?;
        self.change(key, |slot| (slot.map(|(key, value)| change(key, value)), None))
    }

    /// Takes an entry out.
    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        let root = self.root.as_mut()?;
        let entry = remove_from(root, key);
        self.counts -= Counts::of(&entry.1);
        self.lower_root();
        Some(entry)
    }

    /// Takes out all entries before a key: whole nodes at a time, where it can.
    pub(super) fn cut_before<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let Some(root) = self.root.as_mut() else { return };
        self.counts -= cut_before(root, key);
        self.lower_root();
    }

    /// No root with a single branch, nor an empty one.
    fn lower_root(&mut self) {
        while let Some(root) = &self.root {
            let only = match &**root {
                Node::Inner(branches) if branches.len() == 1 => Some(branches[0].node.clone()),
                node if node.len() == 0 => None,
                _ => return,
            };
            self.root = only;
        }
    }
}

impl<K, V> Node<K, V> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(branches) => branches.len(),
        }
    }

    /// A key that nothing below is before, as far as its place in the tree is concerned.
    fn least(&self) -> &K {
        match self {
            Node::Leaf(entries) => &entries[0].0,
            Node::Inner(branches) => &branches[0].least,
        }
    }
}

/// Which branch a key is below, if it is anywhere.
fn place_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(branches: &[Branch<K, V>], key: &Q) -> usize {
    branches[1..].partition_point(|branch| branch.least.borrow() <= key)
}

fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(one, _)| one.borrow().cmp(key))
}

/// What a change did to a node.
struct Changed<R, K, V> {
    answer: R,
    less: Counts,
    more: Counts,
    /// What no longer fitted: it comes after the node.
    split: Option<Branch<K, V>>,
}

fn change_in<K, V, Q, R>(
    node: &mut Arc<Node<K, V>>,
    key: &Q,
    change: impl FnOnce(Option<(&K, &mut V)>) -> (R, Option<(K, V)>),
) -> Changed<R, K, V>
where
    K: Ord + Clone + Borrow<Q>,
    V: Clone + Live,
    Q: Ord + ?Sized,
{
    match Arc::make_mut(node) {
        Node::Leaf(entries) => change_leaf(entries, key, change),
        Node::Inner(branches) => {
            let place = place_of(branches, key);
            let below = &mut branches[place];
            let mut changed = change_in(&mut below.node, key, change);
            below.counts += changed.more;
            below.counts -= changed.less;
            if let Some(right) = changed.split.take() {
                below.counts -= right.counts;
                branches.insert(place + 1, right);
                changed.split = split_branches(branches, place + 1);
            }
            changed
        }
    }
}

fn change_leaf<K, V, Q, R>(
    entries: &mut Vec<(K, V)>,
    key: &Q,
    change: impl FnOnce(Option<(&K, &mut V)>) -> (R, Option<(K, V)>),
) -> Changed<R, K, V>
where
    K: Ord + Clone + Borrow<Q>,
    V: Live,
    Q: Ord + ?Sized,
{
    let none = Counts::default();
    match find(entries, key) {
        Ok(place) => {
            let (key, value) = &mut entries[place];
            let less = Counts::of(value);
            let (answer, entry) = change(Some((key, value)));
            assert!(entry.is_none(), "something is there already");
            Changed { answer, less, more: Counts::of(value), split: None }
        }
        Err(place) => {
            let (answer, entry) = change(None);
            let Some(entry) = entry else {
                return Changed { answer, less: none, more: none, split: None };
            };
            debug_assert!(entry.0.borrow() == key, "the key that was looked for");
            let more = Counts::of(&entry.1);
            let split = insert_at(entries, place, entry);
            Changed { answer, less: none, more, split }
        }
    }
}

/// Puts an entry into a leaf, which is split if it is full.
fn insert_at<K: Clone, V: Live>(
    entries: &mut Vec<(K, V)>,
    place: usize,
    entry: (K, V),
) -> Option<Branch<K, V>> {
    if entries.len() < FULL {
        if entries.len() == entries.capacity() {
            entries.reserve_exact(GROWTH.min(FULL - entries.len()));
        }
        entries.insert(place, entry);
        return None;
    }
    // Keys that come in order leave full leaves behind them.
    let cut = if place == FULL { FULL } else { FULL / 2 };
    let mut right: Vec<(K, V)> = Vec::with_capacity(FULL - cut + GROWTH);
    right.extend(entries.drain(cut..));
    if place < cut || cut == FULL / 2 && place == cut {
        entries.insert(place, entry);
    } else {
        right.insert(place - cut, entry);
    }
    if entries.len() < FULL {
        entries.shrink_to(entries.len() + GROWTH);
    }
    Some(Branch::of(Node::Leaf(right)))
}

/// Splits a node of branches that has become too long by the one at `place`.
fn split_branches<K: Clone, V: Live>(
    branches: &mut Vec<Branch<K, V>>,
    place: usize,
) -> Option<Branch<K, V>> {
    if branches.len() <= FULL {
        return None;
    }
    let is_at_end = place + 1 == branches.len();
    let cut = if is_at_end { branches.len() - SPLIT_AT_END } else { branches.len() / 2 };
    Some(Branch::of(Node::Inner(branches.split_off(cut))))
}

impl<K: Clone, V: Live> Branch<K, V> {
    fn of(node: Node<K, V>) -> Branch<K, V> {
        let counts = match &node {
            Node::Leaf(entries) => entries.iter().map(|(_, value)| Counts::of(value)).sum(),
            Node::Inner(branches) => branches.iter().map(|branch| branch.counts).sum(),
        };
        Branch { least: node.least().clone(), counts, node: Arc::new(node) }
    }
}

/// Takes out what is known to be there.
fn remove_from<K, V, Q>(node: &mut Arc<Node<K, V>>, key: &Q) -> (K, V)
where
    K: Ord + Clone + Borrow<Q>,
    V: Clone + Live,
    Q: Ord + ?Sized,
{
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let place = find(entries, key).expect("the caller has found it");
            entries.remove(place)
        }
        Node::Inner(branches) => {
            let place = place_of(branches, key);
            let entry = remove_from(&mut branches[place].node, key);
            branches[place].counts -= Counts::of(&entry.1);
            mend(branches, place);
            entry
        }
    }
}

/// What was taken out.
fn cut_before<K, V, Q>(node: &mut Arc<Node<K, V>>, key: &Q) -> Counts
where
    K: Ord + Clone + Borrow<Q>,
    V: Clone + Live,
    Q: Ord + ?Sized,
{
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let place = entries.partition_point(|(one, _)| one.borrow() < key);
            entries.drain(..place).map(|(_, value)| Counts::of(&value)).sum()
        }
        Node::Inner(branches) => {
            let place = place_of(branches, key);
            let whole: Counts = branches.drain(..place).map(|branch| branch.counts).sum();
            let part = cut_before(&mut branches[0].node, key);
            branches[0].counts -= part;
            mend(branches, 0);
            whole + part
        }
    }
}

/// After something was taken out below a branch: no branch is left empty, and one that is poor is
/// joined with a neighbour, or given some of what that has.
fn mend<K, V>(branches: &mut Vec<Branch<K, V>>, place: usize)
where
    K: Clone,
    V: Clone + Live,
{
    let left = branches[place].node.len();
    if left == 0 {
        branches.remove(place);
        return;
    }
    if left >= POOR || branches.len() == 1 {
        return;
    }
    let place = place.saturating_sub(1);
    let Branch { least, counts, node } = branches.remove(place + 1);
    let left = &mut branches[place];
    left.counts += counts;
    let right = match (Arc::make_mut(&mut left.node), Arc::unwrap_or_clone(node)) {
        (Node::Leaf(one), Node::Leaf(other)) => join(one, other).map(Node::Leaf),
        (Node::Inner(one), Node::Inner(mut other)) => {
            // As the first of its node it may have been told of keys before it.
            other[0].least = least;
            join(one, other).map(Node::Inner)
        }
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {
            unreachable!("invariant 3: all leaves are equally deep")
        }
    };
    if let Some(right) = right.map(Branch::of) {
        branches[place].counts -= right.counts;
        branches.insert(place + 1, right);
    }
}

/// Puts two neighbours together; if that is too much for one, answers with half of it.
fn join<T>(one: &mut Vec<T>, other: Vec<T>) -> Option<Vec<T>> {
    let together = one.len() + other.len();
    one.reserve_exact(other.len());
    one.extend(other);
    let rest = (together > FULL).then(|| one.split_off(together / 2));
    one.shrink_to(one.len() + GROWTH);
    rest
}

/// Makes a tree of entries that come in order: full, and in a step for each.
pub(super) struct Builder<K, V> {
    leaf: Vec<(K, V)>,
    leaves: Vec<Branch<K, V>>,
}

impl<K, V> Default for Builder<K, V> {
    fn default() -> Builder<K, V> {
        Builder { leaf: Vec::new(), leaves: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Live> Builder<K, V> {
    /// The entry that came last.
    pub(super) fn last(&self) -> Option<&(K, V)> {
        let before = || match &*self.leaves.last()?.node {
            Node::Leaf(entries) => entries.last(),
            Node::Inner(_) => None,
        };
        self.leaf.last().or_else(before)
    }

    /// Adds an entry.
    ///
    /// # Panics
    /// When its key is not after all others.
    pub(super) fn push(&mut self, key: K, value: V) {
        assert!(self.last().is_none_or(|(last, _)| *last < key), "entries come in order");
        if self.leaf.len() == FULL {
            let full = core::mem::take(&mut self.leaf);
            self.leaves.push(Branch::of(Node::Leaf(full)));
        }
        if self.leaf.is_empty() {
            self.leaf.reserve_exact(FULL);
        }
        self.leaf.push((key, value));
    }

    /// All that was added.
    pub(super) fn finish(self) -> Tree<K, V> {
        let Builder { mut leaf, leaves: mut level } = self;
        if !leaf.is_empty() {
            leaf.shrink_to_fit();
            level.push(Branch::of(Node::Leaf(leaf)));
        }
        while level.len() > 1 {
            let nodes = level.len().div_ceil(FULL);
            let mut left = level.len();
            let mut below = level.into_iter();
            level = (0..nodes)
                .rev()
                .map(|after| {
                    // As long as each other, or one branch longer.
                    let share = left.div_ceil(after + 1);
                    left -= share;
                    Branch::of(Node::Inner(below.by_ref().take(share).collect()))
                })
                .collect();
        }
        match level.pop() {
            Some(Branch { counts, node, .. }) => Tree { root: Some(node), counts },
            None => Tree::default(),
        }
    }
}

#[cfg(test)]
mod tests;
