//! Passwords as they are kept: PBKDF2 with HMAC-SHA256 (RFC 8018, 5.2), salt and count beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive, verify};
use ring::rand::{SecureRandom, SystemRandom};
use std::num::NonZeroU32;

/// How often the function is applied: some tens of milliseconds, about what etcd's bcrypt takes.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");

/// Most that is applied at somebody else's word: a hash brought along must not hold up a node.
const ITERATIONS_MAX: u32 = 2_000_000;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// What a hash begins with.
const KIND: &str = "pbkdf2-sha256";

/// The hash of a password under a salt drawn for it. `None`: the system has no randomness.
pub(super) fn hashed(password: &str) -> Option<String> {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).ok()?;
    let mut hash = [0; HASH_BYTES];
    derive(PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut hash);
    Some(format!("{KIND}${ITERATIONS}${}${}", BASE64.encode(salt), BASE64.encode(hash)))
}

/// Whether it could be the hash of a password. Another one's would let nobody in.
pub(super) fn is_hash(text: &str) -> bool {
    parse(text.as_bytes()).is_some()
}

/// Whether this is the password that was hashed.
pub(super) fn matches(credential: &[u8], password: &str) -> bool {
    let Some((iterations, salt, hash)) = parse(credential) else { return false };
    verify(PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &hash).is_ok()
}

/// Takes as long as looking whether a password is right: an answer must not tell by its time that
/// there is no such user.
pub(super) fn matches_nobody(password: &str) -> bool {
    let mut hash = [0; HASH_BYTES];
    derive(PBKDF2_HMAC_SHA256, ITERATIONS, &[0; SALT_BYTES], password.as_bytes(), &mut hash);
    false
}

fn parse(credential: &[u8]) -> Option<(NonZeroU32, Vec<u8>, Vec<u8>)> {
    let text = std::str::from_utf8(credential).ok()?;
    let rest = text.strip_prefix(KIND)?.strip_prefix('$')?;
    let [iterations, salt, hash] = *rest.split('$').collect::<Vec<_>>() else { return None };
    let iterations: NonZeroU32 = iterations.parse().ok()?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    let is_ours =
        iterations.get() <= ITERATIONS_MAX && salt.len() >= SALT_BYTES && hash.len() == HASH_BYTES;
    is_ours.then_some((iterations, salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_hash_and_no_other_and_is_not_in_it() {
        let hash = hashed("correct horse").unwrap();
        assert!(is_hash(&hash));
        assert!(matches(hash.as_bytes(), "correct horse"));
        assert!(!matches(hash.as_bytes(), "correct hors"));
        assert!(!hash.contains("horse"));
        assert_ne!(hash, hashed("correct horse").unwrap(), "the salt is drawn");
        for wrong in ["", "plain", "$2a$10$abcdefghijklmnopqrstuv", "pbkdf2-sha256$0$AA$AA"] {
            assert!(!is_hash(wrong), "{wrong}");
            assert!(!matches(wrong.as_bytes(), "") && !matches(wrong.as_bytes(), wrong));
        }
    }
}
