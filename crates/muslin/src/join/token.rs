//! The one line a person carries to a new machine.
//!
//! The secret is the seed of an Ed25519 key. A joiner signs its request with it, and the record
//! keeps the hash of the public half: so neither the record, nor whoever passes the request on,
//! learns what would let another node in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muslin_core::base::ClusterId;
use muslin_core::state;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// What every token of this format begins with.
const PREFIX: &str = "MSL1-";

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
const BODY_BYTES: usize = 16 + 32 + ID_BYTES + SECRET_BYTES;

/// Characters of a whole token.
const TEXT_CHARS: usize = PREFIX.len() + ((BODY_BYTES + CHECK_BYTES) * 4).div_ceil(3);

/// Lets its holder join a cluster. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Which cluster.
    pub cluster: ClusterId,
    /// SHA-256 of its CA certificate (DER): how the joiner knows that it talks to that cluster.
    pub ca_hash: [u8; 32],
    /// Public part.
    pub id: String,
    secret: [u8; SECRET_BYTES],
}

/// Why a text is not a token. `Display` says what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It begins otherwise.
    #[error(
        "this is not a join token: it must begin with {PREFIX}; copy the token that `muslin init` \
         printed"
    )]
    Prefix,
    /// It is of another format.
    #[error("the join token is of another version of Muslin; join with the cluster's version")]
    Version,
    /// It is cut short or has something behind it.
    #[error(
        "the join token has {0} characters, {TEXT_CHARS} are expected; copy the whole token and \
         nothing else"
    )]
    Length(usize),
    /// A character is not of a token's.
    #[error(
        "the join token has a character that no token has; copy it again (letters, digits, - and _)"
    )]
    Character,
    /// Its checksum does not match.
    #[error("the join token is mistyped: its checksum does not match; copy it again")]
    Checksum,
}

impl Token {
    /// Makes a token with a random secret.
    pub fn generate(cluster: ClusterId, ca_hash: [u8; 32]) -> Token {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        SystemRandom::new().fill(&mut random).expect("the system gives random bytes");
        let (id, secret) = random.split_at(ID_BYTES);
        let secret = secret.try_into().expect("the rest has the secret's length");
        Token { cluster, ca_hash, id: hexadecimal(id), secret }
    }

    /// The line itself, secret and all: for the person who asked for it, and nobody else.
    pub fn expose(&self) -> String {
        let mut bytes = Vec::with_capacity(BODY_BYTES + CHECK_BYTES);
        bytes.extend_from_slice(&self.cluster.to_bytes());
        bytes.extend_from_slice(&self.ca_hash);
        let id = u64::from_str_radix(&self.id, 16).expect("made of eight bytes");
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes))
    }

    /// Reads what [`Token::expose`] wrote.
    pub fn parse(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let is_other = text.starts_with("MSL") && text.contains('-');
            return Err(if is_other { TokenError::Version } else { TokenError::Prefix });
        };
        if text.chars().count() != TEXT_CHARS {
            return Err(TokenError::Length(text.chars().count()));
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Character)?;
        let (body, check) = bytes.split_at(BODY_BYTES);
        if check != checksum(body) {
            return Err(TokenError::Checksum);
        }
        let (cluster, rest) = body.split_at(16);
        let (ca_hash, rest) = rest.split_at(32);
        let (id, secret) = rest.split_at(ID_BYTES);
        let exact = "the parts of a body have fixed lengths";
        Ok(Token {
            cluster: ClusterId(u128::from_be_bytes(cluster.try_into().expect(exact))),
            ca_hash: ca_hash.try_into().expect(exact),
            id: hexadecimal(id),
            secret: secret.try_into().expect(exact),
        })
    }

    /// What the record keeps of it: it admits `uses` nodes (any number if 0) until it expires.
    pub fn record(&self, expires: SystemTime, uses: u64) -> state::Token {
        let expires = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        state::Token {
            id: self.id.clone(),
            secret_hash: key_hash(self.key().public_key().as_ref()).to_vec().into(),
            expires_unix_ms: u64::try_from(expires).unwrap_or(u64::MAX),
            uses_left: uses,
            ..state::Token::default()
        }
    }

    /// Shows that this is the token's holder who says this.
    pub(super) fn prove(&self, said: &[u8]) -> Proof {
        let key = self.key();
        Proof {
            token_id: self.id.clone(),
            token_key: URL_SAFE_NO_PAD.encode(key.public_key()),
            signature: URL_SAFE_NO_PAD.encode(key.sign(said)),
        }
    }

    fn key(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.secret).expect("a seed has 32 bytes")
    }
}

/// What a request shows of a token: nothing that would serve another request.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Proof {
    /// Public part of the token.
    pub token_id: String,
    /// Public half of its key, base64url.
    pub token_key: String,
    /// Its signature of what is asked, base64url.
    pub signature: String,
}

impl Proof {
    /// The hash that the record compares, if the holder of that key has said this. Takes the same
    /// time for every key.
    pub(super) fn check(&self, said: &[u8]) -> Option<[u8; 32]> {
        let key = URL_SAFE_NO_PAD.decode(&self.token_key).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(&self.signature).ok()?;
        UnparsedPublicKey::new(&ED25519, &key).verify(said, &signature).ok()?;
        Some(key_hash(&key))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} of cluster {}, ..)", self.id, self.cluster)
    }
}

fn key_hash(key: &[u8]) -> [u8; 32] {
    digest(&SHA256, key).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn checksum(body: &[u8]) -> [u8; CHECK_BYTES] {
    *digest(&SHA256, body).as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
