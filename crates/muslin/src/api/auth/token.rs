//! Tokens: who somebody is, sealed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use muslin_core::state::{AUTH_NAME_BYTES_MAX, Asker};
use ring::hmac;
use std::time::Duration;

/// How long a token is good. etcd lets one go five minutes after its last use, and many clients
/// authenticate only once: this one is not counted from its use, so it is longer. Whoever loses a
/// right or a password loses the token with it, at once.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// The first byte: what follows, and what the seal is for.
const KIND: u8 = 1;

const NUMBER_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + 2 * NUMBER_BYTES;
const SEAL_BYTES: usize = 32;

/// Longest token looked at.
const TOKEN_CHARS_MAX: usize = (HEAD_BYTES + AUTH_NAME_BYTES_MAX + SEAL_BYTES) * 4 / 3 + 4;

/// What a token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) user: String,
    pub(super) auth_revision: u64,
    pub(super) until_unix_ms: u64,
}

/// Why a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unsealed {
    /// It is none, or of another key.
    Unknown,
    /// Its time is over.
    Expired,
}

impl Token {
    /// As text that fits into a header.
    pub(super) fn sealed(&self, key: &[u8]) -> String {
        let mut bytes = vec![KIND];
        bytes.extend(self.until_unix_ms.to_be_bytes());
        bytes.extend(self.auth_revision.to_be_bytes());
        bytes.extend(self.user.as_bytes());
        let seal = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &bytes);
        bytes.extend(seal.as_ref());
        BASE64.encode(bytes)
    }

    /// What a text says that was sealed with this key.
    pub(super) fn unsealed(text: &str, key: &[u8], unix_ms: u64) -> Result<Token, Unsealed> {
        if text.len() > TOKEN_CHARS_MAX {
            return Err(Unsealed::Unknown);
        }
        let bytes = BASE64.decode(text).map_err(|_| Unsealed::Unknown)?;
        let body = bytes.len().checked_sub(SEAL_BYTES).ok_or(Unsealed::Unknown)?;
        let (body, seal) = bytes.split_at(body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, body, seal).map_err(|_| Unsealed::Unknown)?;
        if body.len() < HEAD_BYTES || body[0] != KIND {
            return Err(Unsealed::Unknown);
        }
        let number = |at: usize| {
            let bytes = &body[at..at + NUMBER_BYTES];
            u64::from_be_bytes(bytes.try_into().expect("it has eight bytes"))
        };
        let user = String::from_utf8(body[HEAD_BYTES..].to_vec()).map_err(|_| Unsealed::Unknown)?;
        let (until_unix_ms, auth_revision) = (number(1), number(1 + NUMBER_BYTES));
        if unix_ms >= until_unix_ms {
            return Err(Unsealed::Expired);
        }
        Ok(Token { user, auth_revision, until_unix_ms })
    }

    /// On whose behalf its bearer asks.
    pub(super) fn asker(self) -> Asker {
        Asker::user(self.user, self.auth_revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_under_its_key_until_its_end_and_not_a_bit_of_it_can_change() {
        let token = Token { user: "ann".into(), auth_revision: 7, until_unix_ms: 1_000 };
        let (key, other) = ([1; 32], [2; 32]);
        let text = token.sealed(&key);
        assert_eq!(Token::unsealed(&text, &key, 999), Ok(token));
        assert_eq!(Token::unsealed(&text, &key, 1_000), Err(Unsealed::Expired));
        assert_eq!(Token::unsealed(&text, &other, 1), Err(Unsealed::Unknown));
        let bytes = BASE64.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = BASE64.encode(forged);
            assert_eq!(Token::unsealed(&forged, &key, 1), Err(Unsealed::Unknown));
        }
        for text in ["", "a", "ä", &"A".repeat(10_000)] {
            assert_eq!(Token::unsealed(text, &key, 1), Err(Unsealed::Unknown));
        }
    }
}
