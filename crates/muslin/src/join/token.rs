//! The one line a person carries to a new machine.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muslin_core::base::ClusterId;
use muslin_core::state;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
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
            secret_hash: secret_hash(&self.secret).to_vec().into(),
            expires_unix_ms: u64::try_from(expires).unwrap_or(u64::MAX),
            uses_left: uses,
        }
    }

    /// The secret as a request carries it.
    pub(super) fn secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} of cluster {}, ..)", self.id, self.cluster)
    }
}

/// The hash that the record compares, of a secret as a request carries it.
pub(super) fn secret_hash_of(text: &str) -> Option<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() == SECRET_BYTES).then(|| secret_hash(&bytes))
}

fn secret_hash(secret: &[u8]) -> [u8; 32] {
    digest(&SHA256, secret).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn checksum(body: &[u8]) -> [u8; CHECK_BYTES] {
    *digest(&SHA256, body).as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
