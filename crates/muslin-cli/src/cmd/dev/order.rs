//! What a person types, or a script writes, while a `dev` cluster runs.

use std::io::BufRead;
use tokio::sync::mpsc;

/// Orders waiting to be carried out; more than anyone types, few enough to stop a runaway script.
const WAITING_MAX: usize = 64;

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// SIGKILL.
    Kill(String),
    /// Again, after it ended.
    Start(String),
    /// SIGSTOP: alive, but silent.
    Pause(String),
    /// SIGCONT.
    Resume(String),
    /// How the cluster is.
    Status,
    /// What can be typed.
    Help,
    /// Stop everything.
    Quit,
    /// Nothing of these.
    Unknown(String),
}

impl Order {
    /// Reads a line; `None` for an empty one.
    pub(crate) fn parse(line: &str) -> Option<Order> {
        let mut words = line.split_whitespace();
        let verb = words.next()?;
        let node = words.next();
        let order = match (verb, node.map(str::to_string), words.next()) {
            ("kill", Some(node), None) => Order::Kill(node),
            ("start", Some(node), None) => Order::Start(node),
            ("pause", Some(node), None) => Order::Pause(node),
            ("resume", Some(node), None) => Order::Resume(node),
            ("status", None, None) => Order::Status,
            ("help" | "?", None, None) => Order::Help,
            ("quit" | "exit", None, None) => Order::Quit,
            _ => Order::Unknown(line.trim().to_string()),
        };
        Some(order)
    }
}

/// Orders from stdin, read on a thread of its own. The end of the input is an order to quit for a
/// person, who pressed Ctrl-D; for a script it means nothing.
pub(crate) fn from_stdin(is_person: bool) -> std::io::Result<mpsc::Receiver<Order>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let read = move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            // An empty line is asked for the prompt again.
            let order = Order::parse(&line).or(is_person.then_some(Order::Unknown(String::new())));
            if order.is_some_and(|order| sender.blocking_send(order).is_err()) {
                return;
            }
        }
        if is_person {
            let _ = sender.blocking_send(Order::Quit);
        }
    };
    std::thread::Builder::new().name("orders".to_string()).spawn(read)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_verb_and_a_node() {
        assert_eq!(Order::parse("kill n2"), Some(Order::Kill("n2".to_string())));
        assert_eq!(Order::parse("  status "), Some(Order::Status));
        assert_eq!(Order::parse(""), None);
        for wrong in ["kill", "kill n1 n2", "status n1", "dance"] {
            assert_eq!(Order::parse(wrong), Some(Order::Unknown(wrong.to_string())));
        }
    }
}
