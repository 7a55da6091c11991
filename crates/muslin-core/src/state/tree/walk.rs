//! Going along a tree, from both ends.

use super::{Branch, Counts, Live, Node, place_of};
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::ops::Bound;
use core::slice;

/// A place between two keys.
pub(super) enum Edge<'q, Q: ?Sized> {
    Start,
    Before(&'q Q),
    After(&'q Q),
    End,
}

impl<Q: ?Sized> Clone for Edge<'_, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q: ?Sized> Copy for Edge<'_, Q> {}

impl<'q, Q: Ord + ?Sized> Edge<'q, Q> {
    /// Where a range with this bound begins.
    pub(super) fn lower(bound: Bound<&'q Q>) -> Edge<'q, Q> {
        match bound {
            Bound::Included(key) => Edge::Before(key),
            Bound::Excluded(key) => Edge::After(key),
            Bound::Unbounded => Edge::Start,
        }
    }

    /// Where it ends.
    pub(super) fn upper(bound: Bound<&'q Q>) -> Edge<'q, Q> {
        match bound {
            Bound::Included(key) => Edge::After(key),
            Bound::Excluded(key) => Edge::Before(key),
            Bound::Unbounded => Edge::End,
        }
    }

    fn is_after(self, key: &Q) -> bool {
        match self {
            Edge::Start => false,
            Edge::Before(edge) => key < edge,
            Edge::After(edge) => key <= edge,
            Edge::End => true,
        }
    }

    fn place<K: Borrow<Q>, V>(self, branches: &[Branch<K, V>]) -> usize {
        match self {
            Edge::Start => 0,
            Edge::Before(key) | Edge::After(key) => place_of(branches, key),
            Edge::End => branches.len() - 1,
        }
    }
}

/// What is on one side of a place: on each level the branches, at the bottom the entries.
struct Path<'a, K, V> {
    above: Vec<slice::Iter<'a, Branch<K, V>>>,
    leaf: slice::Iter<'a, (K, V)>,
}

impl<'a, K, V: Live> Path<'a, K, V> {
    fn nowhere() -> Path<'a, K, V> {
        Path { above: Vec::new(), leaf: [].iter() }
    }

    /// All of a tree.
    fn whole(mut node: &'a Node<K, V>, is_forth: bool) -> Path<'a, K, V> {
        let mut path = Path::nowhere();
        path.descend(&mut node, is_forth);
        path
    }

    /// To the first leaf below a node, or to its last.
    fn descend(&mut self, node: &mut &'a Node<K, V>, is_forth: bool) {
        loop {
            match node {
                Node::Leaf(entries) => {
                    self.leaf = entries.iter();
                    return;
                }
                Node::Inner(branches) => {
                    let mut below = branches.iter();
                    let next = if is_forth { below.next() } else { below.next_back() };
                    self.above.push(below);
                    *node = &next.expect("invariant 2: no node is empty").node;
                }
            }
        }
    }

    /// What is after an edge, and how much is before it.
    fn after<Q: Ord + ?Sized>(
        mut node: &'a Node<K, V>,
        edge: Edge<'_, Q>,
    ) -> (Path<'a, K, V>, Counts)
    where
        K: Borrow<Q>,
    {
        let mut path = Path::nowhere();
        let mut before = Counts::default();
        loop {
            match node {
                Node::Leaf(entries) => {
                    let place = entries.partition_point(|(key, _)| edge.is_after(key.borrow()));
                    before += counts_of(&entries[..place]);
                    path.leaf = entries[place..].iter();
                    return (path, before);
                }
                Node::Inner(branches) => {
                    let place = edge.place(branches);
                    before += branches[..place].iter().map(|branch| branch.counts).sum();
                    path.above.push(branches[place + 1..].iter());
                    node = &branches[place].node;
                }
            }
        }
    }

    /// What is among the first so many entries.
    fn first(mut node: &'a Node<K, V>, mut entries_left: usize) -> Path<'a, K, V> {
        let mut path = Path::nowhere();
        loop {
            match node {
                Node::Leaf(entries) => {
                    path.leaf = entries[..entries_left].iter();
                    return path;
                }
                Node::Inner(branches) => {
                    let mut place = 0;
                    while entries_left > branches[place].counts.all {
                        entries_left -= branches[place].counts.all;
                        place += 1;
                    }
                    path.above.push(branches[..place].iter());
                    node = &branches[place].node;
                }
            }
        }
    }

    fn next(&mut self, is_wanted: Wanted) -> Option<&'a (K, V)> {
        loop {
            if let Some(entry) = self.leaf.find(|(_, value)| is_wanted.takes(value.is_live())) {
                return Some(entry);
            }
            let branch = loop {
                let below = self.above.last_mut()?;
                match below.find(|branch| is_wanted.takes(branch.counts.live > 0)) {
                    Some(branch) => break branch,
                    None => self.above.pop(),
                };
            };
            self.descend(&mut &*branch.node, true);
        }
    }

    fn next_back(&mut self, is_wanted: Wanted) -> Option<&'a (K, V)> {
        loop {
            if let Some(entry) = self.leaf.rfind(|(_, value)| is_wanted.takes(value.is_live())) {
                return Some(entry);
            }
            let branch = loop {
                let below = self.above.last_mut()?;
                match below.rfind(|branch| is_wanted.takes(branch.counts.live > 0)) {
                    Some(branch) => break branch,
                    None => self.above.pop(),
                };
            };
            self.descend(&mut &*branch.node, false);
        }
    }
}

/// The entry that so many are before.
pub(super) fn nth<K, V: Live>(root: &Node<K, V>, before: usize) -> Option<&(K, V)> {
    Path::first(root, before + 1).leaf.next_back()
}

fn counts_of<K, V: Live>(entries: &[(K, V)]) -> Counts {
    entries.iter().map(|(_, value)| Counts::of(value)).sum()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Live,
}

impl Wanted {
    fn takes(self, is_live: bool) -> bool {
        is_live || self == Wanted::All
    }
}

/// Entries in order, from either end.
pub(in crate::state) struct Iter<'a, K, V> {
    root: Option<&'a Node<K, V>>,
    wanted: Wanted,
    /// What is not told yet, of all and of the live ones.
    left: Counts,
    /// Entries before the end of the range.
    end: usize,
    front: Path<'a, K, V>,
    /// Nowhere until somebody asks for what is last.
    back: Option<Path<'a, K, V>>,
}

impl<'a, K, V: Live> Iter<'a, K, V> {
    /// A whole tree with so many entries.
    pub(super) fn new(root: Option<&'a Node<K, V>>, counts: Counts) -> Iter<'a, K, V> {
        let front = root.map_or_else(Path::nowhere, |root| Path::whole(root, true));
        Iter { root, wanted: Wanted::All, left: counts, end: counts.all, front, back: None }
    }

    /// What is between two edges.
    pub(super) fn between<Q: Ord + ?Sized>(
        root: Option<&'a Node<K, V>>,
        from: Edge<'_, Q>,
        to: Edge<'_, Q>,
    ) -> Iter<'a, K, V>
    where
        K: Borrow<Q>,
    {
        let Some(tree) = root else { return Iter::new(None, Counts::default()) };
        let (front, before) = Path::after(tree, from);
        let (_, through) = Path::after(tree, to);
        let is_empty = through.all < before.all;
        let left = if is_empty { Counts::default() } else { through - before };
        Iter { root, wanted: Wanted::All, left, end: through.all, front, back: None }
    }

    /// Leaves out what is not live.
    pub(super) fn only_live(self) -> Iter<'a, K, V> {
        Iter { wanted: Wanted::Live, ..self }
    }

    /// How much is not told yet.
    pub(in crate::state) fn counts(&self) -> Counts {
        self.left
    }

    fn is_over(&self) -> bool {
        match self.wanted {
            Wanted::All => self.left.all == 0,
            Wanted::Live => self.left.live == 0,
        }
    }

    fn told(&mut self, entry: &'a (K, V)) -> (&'a K, &'a V) {
        self.left.all = self.left.all.saturating_sub(1);
        self.left.live -= usize::from(entry.1.is_live());
        (&entry.0, &entry.1)
    }
}

impl<'a, K, V: Live> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        if self.is_over() {
            return None;
        }
        let entry = self.front.next(self.wanted)?;
        Some(self.told(entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self.wanted {
            Wanted::All => self.left.all,
            Wanted::Live => self.left.live,
        };
        (left, Some(left))
    }
}

impl<'a, K, V: Live> DoubleEndedIterator for Iter<'a, K, V> {
    fn next_back(&mut self) -> Option<(&'a K, &'a V)> {
        if self.is_over() {
            return None;
        }
        let (root, end) = (self.root?, self.end);
        let back = self.back.get_or_insert_with(|| Path::first(root, end));
        let entry = back.next_back(self.wanted)?;
        Some(self.told(entry))
    }
}

impl<K, V: Live> ExactSizeIterator for Iter<'_, K, V> {}
