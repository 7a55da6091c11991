//! The keys that seal gossip.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::state;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most gossip keys at once: the one in use, the one before, the one to come, and one spare.
pub const KEYRING_MAX: usize = 4;

/// One gossip key. `Debug` shows its number only.
#[derive(Clone, PartialEq, Eq)]
pub struct GossipKey {
    /// Names the key in datagrams.
    pub id: u8,
    /// The key.
    pub secret: [u8; 32],
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipKey({}, ..)", self.id)
    }
}

/// Gossip keys: the first seals, all open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyring {
    keys: Vec<GossipKey>,
}

/// Why a list of keys is not a keyring.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyringError {
    /// It cannot be read.
    #[error("the gossip keys cannot be read: {0}")]
    Unreadable(String),
    /// None, too many, or two of one number.
    #[error("a keyring has 1 to {KEYRING_MAX} keys of different numbers, this one has {0}")]
    Count(usize),
}

#[derive(Serialize, Deserialize)]
struct KeyText {
    id: u8,
    key: String,
}

impl Keyring {
    /// One random key.
    pub fn generate() -> Keyring {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).expect("the system gives random bytes");
        Keyring { keys: vec![GossipKey { id: 1, secret }] }
    }

    /// The key that everybody has: what it seals is neither secret nor proof of anything. With it
    /// an open cluster has the format of a sealed one, and becomes one by having its keys changed.
    pub fn public() -> Keyring {
        Keyring { keys: vec![GossipKey { id: 0, secret: [0; 32] }] }
    }

    /// Whether the key that everybody has opens what it takes in.
    pub fn is_open(&self) -> bool {
        self.keys.iter().any(|key| key.secret == [0; 32])
    }

    /// These keys; the first seals.
    pub fn of(keys: Vec<GossipKey>) -> Result<Keyring, KeyringError> {
        let repeated = keys
            .iter()
            .enumerate()
            .any(|(at, key)| keys.iter().take(at).any(|earlier| earlier.id == key.id));
        if keys.is_empty() || keys.len() > KEYRING_MAX || repeated {
            return Err(KeyringError::Count(keys.len()));
        }
        Ok(Keyring { keys })
    }

    /// The keys that the record has, the primary one first; `None` where it keeps none.
    pub fn of_record(keys: &[state::GossipKey]) -> Option<Keyring> {
        let mut keys: Vec<&state::GossipKey> = keys.iter().collect();
        keys.sort_by_key(|key| (!key.is_primary, std::cmp::Reverse(key.generation)));
        let keys = keys.into_iter().map(|key| {
            let secret = <[u8; 32]>::try_from(key.key.as_ref()).ok()?;
            // So few are kept at once that their lowest bytes differ.
            Some(GossipKey { id: key.generation as u8, secret })
        });
        Keyring::of(keys.collect::<Option<_>>()?).ok()
    }

    /// The key to seal with.
    pub fn sealing(&self) -> &GossipKey {
        self.keys.first().expect("a keyring is never empty")
    }

    /// The key of this number.
    pub fn key(&self, id: u8) -> Option<&GossipKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// All keys as JSON, for a private file or an authenticated channel.
    pub fn to_json(&self) -> String {
        let text = |key: &GossipKey| KeyText { id: key.id, key: STANDARD.encode(key.secret) };
        let texts: Vec<KeyText> = self.keys.iter().map(text).collect();
        serde_json::to_string(&texts).expect("numbers and text are always JSON")
    }

    /// Reads what [`Keyring::to_json`] wrote.
    pub fn from_json(json: &str) -> Result<Keyring, KeyringError> {
        // The message of the parser is left out: it may quote what it read.
        let unreadable = |what: &str| KeyringError::Unreadable(what.to_string());
        let texts: Vec<KeyText> =
            serde_json::from_str(json).map_err(|_| unreadable("not a JSON list of keys"))?;
        let mut keys = Vec::with_capacity(texts.len());
        for text in texts {
            let bytes =
                STANDARD.decode(&text.key).map_err(|_| unreadable("a key is not base64"))?;
            let secret = bytes.try_into().map_err(|_| unreadable("a key is not 32 bytes"))?;
            keys.push(GossipKey { id: text.id, secret });
        }
        Keyring::of(keys)
    }
}
