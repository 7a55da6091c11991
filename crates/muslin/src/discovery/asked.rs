//! Asking a discovery for as long as somebody listens.

use super::Discovery;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often a discovery is asked.
pub const ASK_EVERY: Duration = Duration::from_secs(2);

/// Asks on a thread of its own, since resolving a name may block, and hands on what has changed.
/// Ends when the receiver is dropped.
pub fn ask(mut discovery: impl Discovery + 'static) -> io::Result<mpsc::Receiver<Vec<SocketAddr>>> {
    let (sender, receiver) = mpsc::channel(1);
    let ask = move || {
        let mut told = Vec::new();
        while !sender.is_closed() {
            let contacts = discovery.contacts();
            if contacts != told {
                told.clone_from(&contacts);
                if sender.blocking_send(contacts).is_err() {
                    return;
                }
            }
            std::thread::sleep(ASK_EVERY);
        }
    };
    std::thread::Builder::new().name("muslin-discovery".into()).spawn(ask)?;
    Ok(receiver)
}
