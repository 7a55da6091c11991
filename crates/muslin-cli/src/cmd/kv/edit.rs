//! `muslin kv edit`

use super::{named, tag};
use crate::args::Global;
use crate::client::{Call, Client, escape_key};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use hyper::header::{ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A value as it was read.
struct Found {
    value: Vec<u8>,
    /// What changed it last; `None` when there is no such key.
    revision: Option<u64>,
}

/// Reads, has it edited, and writes what came of it if nobody else has written meanwhile.
pub(super) async fn run(global: &Global, key: &str) -> Result<(), Failure> {
    let path = format!("/v1/kv/{}", escape_key(named(key)?));
    let found = found(global, &path).await?;
    let draft = Draft::make(key, &found.value)?;
    draft.edit()?;
    let edited = draft.read(&found)?;
    if edited == found.value {
        output::hint(&format!("`{key}` is left as it is"));
        return draft.remove();
    }
    let call = match found.revision {
        None => Call::put(&path, edited).header(IF_NONE_MATCH, HeaderValue::from_static("*")),
        // What hangs on a lease stays on it.
        Some(revision) => {
            Call::put(format!("{path}?keep_lease=1"), edited).header(IF_MATCH, tag(revision))
        }
    };
    let written = match Client::new(global).await {
        Ok(client) => client.json(call).await,
        Err(failure) => Err(failure),
    };
    let body = written.map_err(|failure| draft.kept(failure))?;
    draft.remove()?;
    output::body(global.output, &body, |body: &Value| {
        let mut table = Table::new(&["KEY", "REVISION"]);
        table.row([cell(body, "key"), cell(body, "revision")]);
        table
    })
}

async fn found(global: &Global, path: &str) -> Result<Found, Failure> {
    match Client::new(global).await?.answer(Call::get(path)).await {
        Ok(answer) => {
            let tag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
            let revision = tag.and_then(|tag| tag.trim_matches('"').parse().ok());
            let revision = revision.ok_or_else(|| {
                Failure::new(Kind::Failed, "the node did not say which revision it read")
            })?;
            Ok(Found { value: answer.body.to_vec(), revision: Some(revision) })
        }
        Err(failure) if failure.kind == Kind::NotFound => {
            Ok(Found { value: Vec::new(), revision: None })
        }
        Err(failure) => Err(failure),
    }
}

/// A file that only this user reads, in a directory of its own.
struct Draft {
    directory: PathBuf,
    file: PathBuf,
}

impl Draft {
    /// The name ends as the key does, so that an editor knows what it is.
    fn make(key: &str, value: &[u8]) -> Result<Draft, Failure> {
        let (id, time) = (std::process::id(), std::time::UNIX_EPOCH.elapsed());
        let time = time.map_or(0, |time| time.as_nanos());
        let directory = std::env::temp_dir().join(format!("muslin-edit-{id}-{time}"));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&directory);
        made.map_err(|error| {
            let sentence = format!("cannot make {}: {error}", directory.display());
            Failure::new(Kind::Failed, sentence)
        })?;
        let last = key.rsplit('/').next().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let plain: String = last.chars().filter(|c| is_plain(*c)).collect();
        let file = directory.join(match plain.trim_start_matches('.') {
            "" => "value",
            name => name,
        });
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        opened.write_all(value)?;
        Ok(Draft { directory, file })
    }

    /// Runs the editor to its end. It may be a command with arguments.
    fn edit(&self) -> Result<(), Failure> {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let editor = of("VISUAL").or_else(|| of("EDITOR")).unwrap_or_else(|| String::from("vi"));
        let line = format!("{editor} \"$1\"");
        let status = Command::new("sh").args(["-c", &line, "sh"]).arg(&self.file).status()?;
        if status.success() {
            return Ok(());
        }
        let failure = Failure::new(Kind::Failed, format!("`{editor}` ended with {status}"));
        Err(self.kept(failure))
    }

    /// What the editor left. It ends a last line that had no end; that is no change.
    fn read(&self, found: &Found) -> Result<Vec<u8>, Failure> {
        Ok(without_added_end(std::fs::read(&self.file)?, &found.value))
    }

    fn remove(self) -> Result<(), Failure> {
        std::fs::remove_dir_all(&self.directory)?;
        Ok(())
    }

    /// The text is not lost, and the person is told where it is.
    fn kept(&self, failure: Failure) -> Failure {
        let said = failure.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
        failure.hint(format!("{said}your text is kept in {}", shown(&self.file)))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn without_added_end(mut edited: Vec<u8>, before: &[u8]) -> Vec<u8> {
    if !before.ends_with(b"\n") && edited.ends_with(b"\n") {
        edited.pop();
    }
    edited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_line_that_only_the_editor_wanted_is_no_change() {
        let edited = |edited: &str, before: &str| {
            without_added_end(edited.as_bytes().to_vec(), before.as_bytes())
        };
        assert_eq!(edited("a\n", "a"), b"a");
        assert_eq!(edited("a\n\n", "a"), b"a\n");
        assert_eq!(edited("a\n", "a\n"), b"a\n");
        assert_eq!(edited("", "a\n"), b"");
        assert_eq!(edited("a\n", ""), b"a");
    }
}
