//! Questions over HTTP, from inside a machine.

use chaos::stage::namespace;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A node gives up before that.
const WAIT: Duration = Duration::from_secs(12);

/// An answer of any kind.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// What it says.
    pub(crate) body: String,
}

/// Does something on a machine: in a thread, since a thread has one network. What it opens there
/// stays there.
pub(crate) fn on<T: Send>(machine: u8, act: impl FnOnce() -> T + Send) -> Result<T, String> {
    let path = namespace(machine);
    let file = File::open(&path).map_err(|e| format!("cannot open {path:?}: {e}"))?;
    let inside = move || {
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| format!("cannot enter: {e}"))?;
        Ok(act())
    };
    std::thread::scope(|scope| scope.spawn(inside).join())
        .map_err(|_| "a thread on a machine died".to_string())?
}

/// A connection to the node of a machine, from there.
pub(crate) fn connect(machine: u8, wait: Duration) -> Result<TcpStream, String> {
    let stream = on(machine, || TcpStream::connect(("127.0.0.1", crate::scene::PORT)))?;
    let stream = stream.map_err(|e| format!("cannot connect: {e}"))?;
    let _ = stream.set_nodelay(true);
    stream.set_read_timeout(Some(wait)).map_err(|e| format!("no time-out: {e}"))?;
    Ok(stream)
}

/// Asks the node of a machine from that machine: `(method, path)`.
pub(crate) fn ask(machine: u8, what: (&str, &str), body: &str) -> Result<Answer, String> {
    let (method, path) = what;
    let mut stream = connect(machine, WAIT)?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    let broken = |e: std::io::Error| format!("{method} {path}: {e}");
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(broken)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(format!("{path}: no answer"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(format!("{path}: no status"))?;
    Ok(Answer { status, body: body.to_string() })
}
