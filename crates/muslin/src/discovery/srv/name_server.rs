//! A small authoritative name server on loopback, for tests. Built of the standard library alone:
//! the tests of the binary include this file, too.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it knows, and how it behaves.
#[derive(Clone, Default)]
pub(crate) struct Zone {
    /// Owner, priority, weight, port, target.
    pub(crate) services: Vec<(String, u16, u16, u16, String)>,
    pub(crate) hosts: Vec<(String, IpAddr)>,
    /// Owner, and what it is another name for.
    pub(crate) aliases: Vec<(String, String)>,
    pub(crate) ttl: u32,
    /// Sends addresses of targets along.
    pub(crate) is_generous: bool,
    /// Says over UDP that every answer is too long for it.
    pub(crate) is_cutting: bool,
    /// Answers nothing.
    pub(crate) is_silent: bool,
}

/// Serves a zone until it is dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    is_ended: Arc<AtomicBool>,
}

impl NameServer {
    pub(crate) fn start(zone: Zone) -> NameServer {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (zone, is_ended) = (Arc::new(Mutex::new(zone)), Arc::new(AtomicBool::new(false)));
        let (served, ended) = (zone.clone(), is_ended.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                // Looked at when a question is there, not before.
                let present = || served.lock().unwrap().clone();
                if let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    let zone = present();
                    let answer = answer(&zone, &buffer[..length], zone.is_cutting);
                    if !zone.is_silent {
                        let _ = udp.send_to(&answer, from);
                    }
                }
                if let Ok((stream, _)) = tcp.accept() {
                    let _ = serve(&present(), stream);
                }
            }
        });
        NameServer { address, zone, is_ended }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Relaxed);
    }
}

fn serve(zone: &Zone, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    let answer = answer(zone, &question, false);
    stream.write_all(&(answer.len() as u16).to_be_bytes())?;
    stream.write_all(&answer)
}

/// The answer to a question of one name, which stands behind the header.
pub(crate) fn answer(zone: &Zone, question: &[u8], is_cut: bool) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    let asked = labels.join(".");
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let (mut records, mut name) = (Vec::new(), asked.clone());
    while let Some((_, alias)) = zone.aliases.iter().find(|(owner, _)| *owner == name) {
        records.push(record(zone, &name, &asked, (5, encoded(alias))));
        name.clone_from(alias);
    }
    let mut additional = Vec::new();
    for (owner, priority, weight, port, target) in &zone.services {
        if *owner == name && kind == 33 {
            let numbers = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
            let content = [numbers, encoded(target)].concat();
            records.push(record(zone, &name, &asked, (33, content)));
            if zone.is_generous {
                additional.extend(addresses(zone, target, &asked, None));
            }
        }
    }
    records.extend(addresses(zone, &name, &asked, Some(kind)));
    let is_known = !records.is_empty() || zone.hosts.iter().any(|(owner, _)| *owner == name);
    let flags = 0x8580 | u16::from(is_cut) << 9 | if is_known { 0 } else { 3 };
    if is_cut {
        (records, additional) = (Vec::new(), Vec::new());
    }
    let counts = [flags, 1, records.len() as u16, 0, additional.len() as u16];
    let mut bytes = question[..2].to_vec();
    bytes.extend(counts.map(u16::to_be_bytes).concat());
    bytes.extend_from_slice(&question[12..at + 5]);
    bytes.extend(records.concat());
    bytes.extend(additional.concat());
    bytes
}

fn addresses(zone: &Zone, name: &str, asked: &str, kind: Option<u16>) -> Vec<Vec<u8>> {
    let of_name = zone.hosts.iter().filter(|(owner, _)| owner == name);
    let contents = of_name.map(|(_, ip)| match ip {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (28, v6.octets().to_vec()),
    });
    let wanted = contents.filter(|(found, _)| kind.is_none_or(|kind| kind == *found));
    wanted.map(|content| record(zone, name, asked, content)).collect()
}

/// The owner that was asked for is written as a pointer to the question.
fn record(zone: &Zone, owner: &str, asked: &str, content: (u16, Vec<u8>)) -> Vec<u8> {
    let mut bytes = if owner == asked { vec![0xc0, 12] } else { encoded(owner) };
    bytes.extend_from_slice(&content.0.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(&zone.ttl.to_be_bytes());
    bytes.extend_from_slice(&(content.1.len() as u16).to_be_bytes());
    bytes.extend(content.1);
    bytes
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}
