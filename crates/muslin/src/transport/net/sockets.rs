//! One port number for datagrams and streams.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Receive and send buffer asked of the system (it may give less): what members send at once when
/// many come or go.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Ports tried when any will do, until one is free for both.
const TRIES: u32 = 16;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 256;

/// A UDP and a TCP socket on one address.
#[derive(Debug)]
pub struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: std::net::TcpListener,
}

impl Sockets {
    /// Binds both; with port 0, to some port that both have.
    pub fn bind(address: SocketAddr) -> io::Result<Sockets> {
        let mut last = None;
        for _ in 0..if address.port() == 0 { TRIES } else { 1 } {
            let tcp = listen(address)?;
            match UdpSocket::bind(tcp.local_addr()?) {
                Ok(udp) => return Sockets::prepared(udp, tcp),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("at least one try was made"))
    }

    fn prepared(udp: UdpSocket, tcp: std::net::TcpListener) -> io::Result<Sockets> {
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&udp);
        // Refused sizes are not an error: the system's limit applies.
        let _ = options.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = options.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        Ok(Sockets { udp, tcp })
    }

    /// Where they are.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// A process that ended moments ago must not keep its address from the next.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// As a socket of this family sends to it.
pub(super) fn outward(to: SocketAddr, is_ipv6: bool) -> SocketAddr {
    match to {
        SocketAddr::V4(v4) if is_ipv6 => {
            SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
        }
        other => other,
    }
}

/// As everybody else knows it.
pub(super) fn canonical(from: SocketAddr) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), from.port())
}
