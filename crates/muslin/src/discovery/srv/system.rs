//! Which name servers this system asks.

use super::super::is_reachable;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const FILE: &str = "/etc/resolv.conf";

/// As many as the system's own resolver takes.
const SERVERS_MAX: usize = 3;

/// A file that is longer holds something else.
const FILE_BYTES_MAX: u64 = 64 << 10;

const DNS_PORT: u16 = 53;

/// The servers at this moment; the file may change at any time (DHCP does that).
pub(super) fn servers() -> io::Result<Vec<SocketAddr>> {
    let mut text = String::new();
    let read = std::fs::File::open(FILE)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(parse("")),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot read {FILE}: {error}"))),
    }
}

/// A file that names none means this machine, as resolv.conf(5) says.
pub(super) fn parse(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let ip: IpAddr = words.next().filter(|_| is_server)?.parse().ok()?;
        Some(SocketAddr::new(ip, DNS_PORT)).filter(is_reachable)
    });
    let mut servers: Vec<SocketAddr> = named.take(SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT)));
    }
    servers
}
