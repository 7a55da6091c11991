//! The events of every node, with the time at which each came.

use crate::ask;
use crate::scene::{Scene, within};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nodes say that they live at least this often.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// When it was told here.
    pub(crate) at: Instant,
    /// By whom: the number of the machine.
    pub(crate) by: u8,
    /// For programs to match on.
    pub(crate) kind: String,
    /// As people read it.
    pub(crate) text: String,
}

/// All that was told so far.
#[derive(Clone, Default)]
pub(crate) struct Events {
    told: Arc<Mutex<Vec<Told>>>,
}

impl Events {
    /// Follows every node that runs.
    pub(crate) fn follow(scene: &Scene) -> Result<Events, String> {
        let events = Events::default();
        for node in scene.nodes.iter().filter(|node| node.process.is_started()) {
            events.follow_one(node.number)?;
        }
        Ok(events)
    }

    /// Follows one from here on; ends with its process.
    pub(crate) fn follow_one(&self, machine: u8) -> Result<(), String> {
        let mut stream = ask::connect(machine, SILENCE_MAX)?;
        let request = "GET /v1/events?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).map_err(|e| format!("cannot follow: {e}"))?;
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        // What happened before is not told again.
        let synced = lines.by_ref().any(|line| line.contains("\"type\":\"sync\""));
        if !synced {
            return Err(format!("the node of machine {machine} tells no events"));
        }
        let told = self.told.clone();
        std::thread::spawn(move || {
            for line in lines.filter(|line| line.contains("\"type\":\"event\"")) {
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let text = |name: &str| event[name].as_str().unwrap_or_default().to_string();
                let one = Told {
                    at: Instant::now(),
                    by: machine,
                    kind: text("kind"),
                    text: text("text"),
                };
                told.lock().expect("nobody panics with it").push(one);
            }
        });
        Ok(())
    }

    /// All so far.
    pub(crate) fn all(&self) -> Vec<Told> {
        self.told.lock().expect("nobody panics with it").clone()
    }

    /// Those of a kind whose text begins with a name.
    pub(crate) fn about(&self, kind: &str, name: &str) -> Vec<Told> {
        let begins = format!("{name} ");
        let fits = |one: &Told| one.kind == kind && one.text.starts_with(&begins);
        self.all().into_iter().filter(fits).collect()
    }

    /// Waits for the first such event that was told after a moment.
    pub(crate) fn wait(
        &self,
        kind: &str,
        name: &str,
        since: Instant,
        patience: Duration,
    ) -> Result<Told, String> {
        within(patience, &format!("{kind} of {name}"), || {
            self.about(kind, name).into_iter().find(|one| one.at >= since)
        })
    }

    /// Every opinion or decision that somebody is down, as sentences.
    pub(crate) fn deaths(&self) -> Vec<String> {
        let is_death = |one: &Told| one.kind == "node-down" || one.kind == "member-down";
        let words = |one: Told| format!("n{}: {}", one.by + 1, one.text);
        self.all().into_iter().filter(is_death).map(words).collect()
    }
}
