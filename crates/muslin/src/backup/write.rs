//! A backup, from a state to bytes.

use super::format::{BLOCK_BYTES, FORMAT, Head, MAGIC, SUM_BYTES, frame};
use bytes::Bytes;
use muslin_core::base::{ClusterId, NodeId};
use muslin_core::state::{Counted, Frozen};
use prost::Message as _;
use ring::digest::{Context, SHA256};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whose backup it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The cluster.
    pub cluster: ClusterId,
    /// What the cluster is called.
    pub cluster_name: String,
    /// The node that writes it.
    pub node: NodeId,
}

/// What is to be written: a state as it was at one moment. It shares with the node's what has not
/// changed since.
#[derive(Clone, Debug)]
pub struct Backup {
    head: Head,
    frozen: Frozen,
}

impl Backup {
    /// Of a state. Goes through all of it, to say first how long it is: not for a thread that
    /// others wait for.
    pub fn of(origin: &Origin, frozen: Frozen) -> Backup {
        let Counted { applied, revision, compacted, epoch, keys, leases, .. } = frozen.counts();
        let Counted { users, roles, members, groups, .. } = frozen.counts();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let head = Head {
            format: FORMAT,
            cluster: origin.cluster.to_string(),
            cluster_name: origin.cluster_name.clone(),
            node: origin.node.to_string(),
            program: env!("CARGO_PKG_VERSION").to_string(),
            unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            revision: revision.0,
            compacted: compacted.0,
            epoch: epoch.0,
            applied: applied.0,
            keys,
            leases,
            users,
            roles,
            members,
            groups,
            state_bytes: length_of(frozen.clone()),
        };
        Backup { head, frozen }
    }

    /// What it will say of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How long it will be.
    pub fn bytes(&self) -> u64 {
        self.head.file_bytes(self.head.encoded_len())
    }

    /// Its bytes, a piece at a time.
    pub fn chunks(self) -> Chunks {
        let (total, head) = (self.bytes(), self.head.encode_to_vec());
        let sum = Context::new(&SHA256);
        let step = Step::Head(head);
        Chunks { frozen: self.frozen, step, written: Vec::new(), told: 0, total, sum }
    }
}

/// Pieces of a state are written and thrown away.
fn length_of(mut frozen: Frozen) -> u64 {
    let (mut length, mut piece) = (0, Vec::new());
    loop {
        piece.clear();
        let is_whole = frozen.write(&mut piece, BLOCK_BYTES);
        length += piece.len() as u64;
        if is_whole {
            return length;
        }
    }
}

/// The bytes of a backup, in order, in pieces of about a block. Each takes a moment to make.
pub struct Chunks {
    frozen: Frozen,
    step: Step,
    /// Of the state, and not told yet.
    written: Vec<u8>,
    told: u64,
    total: u64,
    sum: Context,
}

enum Step {
    Head(Vec<u8>),
    State,
    /// What of the state is written is all.
    Rest,
    Over,
}

impl Chunks {
    /// How many bytes come yet.
    pub fn left(&self) -> u64 {
        self.total - self.told
    }

    fn tell(&mut self, chunk: Vec<u8>) -> Bytes {
        self.sum.update(&chunk);
        self.told += chunk.len() as u64;
        Bytes::from(chunk)
    }

    /// The next block of the state; `None` when all were told.
    fn block(&mut self) -> Option<Bytes> {
        while matches!(self.step, Step::State) && self.written.len() < BLOCK_BYTES {
            let left = BLOCK_BYTES - self.written.len();
            if self.frozen.write(&mut self.written, left) {
                self.step = Step::Rest;
            }
        }
        if self.written.is_empty() {
            return None;
        }
        let rest = self.written.split_off(self.written.len().min(BLOCK_BYTES));
        let data = std::mem::replace(&mut self.written, rest);
        let mut chunk = frame(&data).to_vec();
        chunk.extend_from_slice(&data);
        Some(self.tell(chunk))
    }

    /// The end, zeros and the sum.
    fn end(&mut self) -> Bytes {
        let mut chunk = frame(&[]).to_vec();
        let sum_at = self.total - SUM_BYTES;
        let zeros = sum_at.checked_sub(self.told + chunk.len() as u64);
        let zeros = zeros.expect("a frozen state is as long each time that it is written");
        chunk.resize(chunk.len() + zeros as usize, 0);
        self.sum.update(&chunk);
        chunk.extend_from_slice(self.sum.clone().finish().as_ref());
        self.told += chunk.len() as u64;
        self.step = Step::Over;
        Bytes::from(chunk)
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match &mut self.step {
            Step::Head(head) => {
                let mut chunk = MAGIC.to_vec();
                chunk.extend_from_slice(&frame(head));
                chunk.append(head);
                self.step = Step::State;
                Some(self.tell(chunk))
            }
            Step::State | Step::Rest => Some(match self.block() {
                Some(block) => block,
                None => self.end(),
            }),
            Step::Over => None,
        }
    }
}
