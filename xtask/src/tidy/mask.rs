//! Rust text with everything that is not code blanked out.
//!
//! Not a parser: it knows comments, strings, characters and braces, which is enough for the rules
//! and stays right when the language grows.

/// A copy of `text` of the same length and lines in which comments, string and character literals
/// are spaces.
pub(crate) fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(bytes, at);
        match end {
            Some(end) => {
                blank(&mut out[at..end]);
                at = end;
            }
            None => at += identifier_or_one(bytes, at),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Steps over a whole identifier, so that the `r` of `for"` is not taken for a raw string.
fn identifier_or_one(bytes: &[u8], at: usize) -> usize {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    bytes[at..].iter().take_while(|b| is_word(b)).count().max(1)
}

/// The end of the comment or literal that begins at `at`.
fn literal_or_comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().take_while(|b| **b != b'\n').count()),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => Some(at + quoted(rest, 0)),
        [b'b', b'"', ..] | [b'c', b'"', ..] => Some(at + quoted(rest, 1)),
        [b'r', b'"' | b'#', ..] => raw_string(rest, 1).map(|n| at + n),
        [b'b' | b'c', b'r', b'"' | b'#', ..] => raw_string(rest, 2).map(|n| at + n),
        [b'\'', ..] => character(rest).map(|n| at + n),
        [b'b', b'\'', ..] => character(&rest[1..]).map(|n| at + n + 1),
        _ => None,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[u8], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|w| w == close).unwrap_or(body.len());
    Some((open + 1 + end + close.len()).min(rest.len()))
}

/// A character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    match rest {
        [_, b'\\', _, tail @ ..] => {
            Some(3 + tail.iter().position(|b| *b == b'\'').unwrap_or(tail.len()) + 1)
        }
        [_, first, ..] => {
            let width = match first {
                0..=0x7f => 1,
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
        }
        _ => None,
    }
}

/// The position just behind the block or statement that begins at or after `from`: its closing
/// brace, or a semicolon outside all brackets that comes first.
pub(crate) fn item_end(masked: &str, from: usize) -> usize {
    let mut brackets = 0_i32;
    for (at, byte) in masked.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 => return at + 1,
            b'{' if brackets == 0 => return block_end(masked, at),
            _ => {}
        }
    }
    masked.len()
}

fn block_end(masked: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in masked.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    masked.len()
}
