//! The code that two people compare: the one who joins a node without a token, and the one who
//! approves it.

use ring::digest::{SHA256, digest};

/// Letters of a code: 100 bits, more than anyone can search for a second key with the same one.
const CODE_LETTERS: usize = 20;

/// Between two groups of them.
const GROUP_LETTERS: usize = 4;

/// No letter that is taken for another (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const LABEL: &[u8] = b"muslin join code 1";

/// Of both ends of a join: the authority that the joiner was shown, and the joiner's key as the
/// cluster was shown it. Whoever stands between them has two different ones.
pub fn join_code(ca_hash: &[u8], key_hash: &[u8]) -> String {
    let hash = digest(&SHA256, &[LABEL, ca_hash, key_hash].concat());
    let mut bits = hash.as_ref().iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut code = String::new();
    for at in 0..CODE_LETTERS {
        if at > 0 && at % GROUP_LETTERS == 0 {
            code.push('-');
        }
        let five = bits.by_ref().take(5).fold(0, |number, bit| number << 1 | usize::from(bit));
        code.push(char::from(LETTERS[five]));
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_five_groups_and_differs_with_either_end() {
        let code = join_code(&[1; 32], &[2; 32]);
        assert_eq!(code.split('-').map(str::len).collect::<Vec<_>>(), [4; 5], "{code}");
        assert_ne!(code, join_code(&[1; 32], &[3; 32]));
        assert_ne!(code, join_code(&[2; 32], &[1; 32]));
    }
}
