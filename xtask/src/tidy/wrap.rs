//! Puts comments back within the columns, which rustfmt leaves to people.

use super::sizes::LINE_MAX;

/// A line of comment: what stands before it, its marker, its text.
struct Comment<'a> {
    indent: &'a str,
    marker: &'a str,
    text: &'a str,
}

/// The text with every paragraph of comment that has a line too long broken anew. Tables, samples
/// and code are left alone.
pub(crate) fn wrap(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let mut is_sample = false;
    let mut at = 0;
    while at < lines.len() {
        let comment = comment(lines[at]);
        is_sample ^= comment.as_ref().is_some_and(|c| c.text.trim_start().starts_with("```"));
        match comment.filter(|c| !is_sample && is_too_long(lines[at]) && !c.text.starts_with('|')) {
            Some(first) => at += paragraph(&first, &lines[at + 1..], &mut out) + 1,
            None => {
                out += lines[at];
                out.push('\n');
                at += 1;
            }
        }
    }
    out
}

fn is_too_long(line: &str) -> bool {
    line.chars().count() > LINE_MAX
}

fn comment(line: &str) -> Option<Comment<'_>> {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    let marker = ["///", "//!", "//"].into_iter().find(|marker| body.starts_with(marker))?;
    let text = &body[marker.len()..];
    let text = text.strip_prefix(' ').unwrap_or(text);
    (!text.trim().is_empty()).then_some(Comment { indent, marker, text })
}

/// Breaks a paragraph that begins with `first`; how many lines after it belonged to it.
fn paragraph(first: &Comment<'_>, rest: &[&str], out: &mut String) -> usize {
    let goes_on = |line: &&&str| {
        comment(line).is_some_and(|c| {
            c.indent == first.indent && c.marker == first.marker && !begins_anew(c.text)
        })
    };
    let more: Vec<&str> = rest.iter().take_while(goes_on).copied().collect();
    let texts = more.iter().filter_map(|line| comment(line)).map(|c| c.text);
    let hanging = " ".repeat(bullet(first.text));
    let prefix = format!("{}{} ", first.indent, first.marker);
    let mut line = format!("{prefix}{}", &first.text[..bullet(first.text)]);
    let mut is_empty = true;
    let words = std::iter::once(&first.text[bullet(first.text)..]).chain(texts);
    for word in words.flat_map(str::split_whitespace) {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > LINE_MAX {
            out.push_str(&line);
            out.push('\n');
            line = format!("{prefix}{hanging}");
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    out.push_str(&line);
    out.push('\n');
    more.len()
}

/// How much of a text is its bullet or number.
fn bullet(text: &str) -> usize {
    let body = text.trim_start();
    let indent = text.len() - body.len();
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    let is_numbered = digits > 0 && body[digits..].starts_with(". ");
    match body {
        _ if is_numbered => indent + digits + 2,
        _ if body.starts_with("- ") || body.starts_with("* ") => indent + 2,
        _ => indent,
    }
}

/// Whether a line is no continuation: a list item, a heading, a quotation, a table or a sample.
fn begins_anew(text: &str) -> bool {
    let is_item = bullet(text) > text.len() - text.trim_start().len();
    is_item || text.starts_with(['#', '|', '>']) || text.starts_with("```")
}
