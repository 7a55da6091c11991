//! The example `counter`: an application's own state machine behind HTTP, on three real nodes.

use crate::ports;
use crate::process::{Running, exists, send, until};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longest wait for one answer.
const WAIT: Duration = Duration::from_secs(30);

/// Cargo builds examples with the tests, beside them.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples/counter");
    assert!(path.exists(), "`cargo build -p muslin-cli --example counter` makes {path:?}");
    path
}

/// The counter's answer, or why there is none: status and body.
fn ask(port: u16, line: &str, key: Option<&str>) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: counter\r\n{key}content-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_string()))
}

/// Asks one node after the other until one says how it is.
#[track_caller]
fn counted(ports: &[u16], line: &str, key: Option<&str>) -> i64 {
    let mut turn = 0;
    until("the counter answers", || {
        turn += 1;
        let (status, body) = ask(ports[turn % ports.len()], line, key)?;
        (status == 200).then(|| body.parse().unwrap())
    })
}

/// Processes that are killed with this value: their parent, killed, takes none of them along.
struct Nodes(Vec<u32>);

impl Drop for Nodes {
    fn drop(&mut self) {
        self.0.iter().filter(|pid| exists(**pid)).for_each(|pid| send(*pid, Signal::SIGKILL));
    }
}

#[test]
fn no_increment_is_lost_or_doubled_when_a_node_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let first = ports::row(8);
    let mut command = Command::new(example());
    command.arg(directory.path()).arg(first.to_string()).arg((first + 4).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut cluster = Running::start(&mut command);
    let (told, heard) = mpsc::channel();
    let lines = BufReader::new(cluster.child().stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
    let mut pids = Vec::new();
    while pids.len() < 3 {
        let line = heard.recv().unwrap();
        pids.extend(line.split("process ").nth(1).and_then(|pid| pid.parse::<u32>().ok()));
    }
    let ports = [first + 1, first + 2, first + 3];
    for port in ports {
        assert_eq!(counted(&[port], "GET /counter", None), 0);
    }
    let _nodes = Nodes(pids.clone());
    // Each node answers, in the order of one leader.
    for turn in 0..30 {
        let key = format!("turn {turn}");
        let value = counted(&[ports[turn % 3]], "POST /counter/increment", Some(&key));
        assert_eq!(value, turn as i64 + 1);
    }
    assert_eq!(counted(&ports, "POST /counter/decrement", Some("down")), 29);
    // S3: the reply was lost, and the same is asked of another node.
    for port in ports {
        assert_eq!(counted(&[port], "POST /counter/increment", Some("lost reply")), 30);
    }
    let other = ask(ports[0], "POST /counter/reset", Some("lost reply")).unwrap();
    assert_eq!(other.0, 422, "a key is one command's: {other:?}");
    // Clients with keys go on while a node is killed, and ask again until they are answered.
    let clients: Vec<_> = (0..4)
        .map(|client| {
            std::thread::spawn(move || {
                for number in 0..25 {
                    let key = format!("{client}-{number}");
                    counted(&ports, "POST /counter/increment", Some(&key));
                }
            })
        })
        .collect();
    send(pids[0], Signal::SIGKILL);
    clients.into_iter().for_each(|client| client.join().unwrap());
    for port in &ports[1..] {
        assert_eq!(counted(&[*port], "GET /counter", None), 130, "none lost, none doubled");
    }
    assert_eq!(counted(&ports, "POST /counter/reset", None), 0);
}
