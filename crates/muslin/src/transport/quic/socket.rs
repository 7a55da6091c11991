//! One UDP socket for QUIC and gossip.

use super::registry::Registry;
use crate::transport::seal::FIRST_BYTES;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Receive and send buffer asked of the system (it may give less): a burst of the initial windows
/// of a few dozen peers.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Hands gossip datagrams to the registry and everything else to QUIC.
pub(super) struct SplitSocket {
    quic: Arc<dyn AsyncUdpSocket>,
    /// The same socket, for sending gossip without waiting for anything.
    gossip: UdpSocket,
    is_ipv6: bool,
    registry: Arc<Registry>,
}

impl SplitSocket {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(socket: UdpSocket, registry: Arc<Registry>) -> io::Result<SplitSocket> {
        socket.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&socket);
        // Refused sizes are not an error: the system's limit applies.
        let _ = options.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = options.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        let gossip = socket.try_clone()?;
        let quic = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(SplitSocket { quic, gossip, is_ipv6, registry })
    }

    /// Sends a sealed datagram, or fails at once.
    pub(super) fn send_gossip(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let to = match to {
            SocketAddr::V4(v4) if self.is_ipv6 => {
                SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
            }
            other => other,
        };
        self.gossip.send_to(datagram, to).map(drop)
    }

    /// Takes gossip out of what was received and closes the gaps. The system joins datagrams of one
    /// source into one buffer, all of `stride` bytes but the last, so each first byte is looked at.
    fn split(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let (stride, length) = (meta.stride.max(1), meta.len.min(buffer.len()));
        let (mut at, mut kept) = (0, 0);
        while at < length {
            let end = (at + stride).min(length);
            if FIRST_BYTES.contains(&buffer[at]) {
                let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
                self.registry.take_datagram(from, &buffer[at..end]);
            } else {
                buffer.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        meta.len = kept;
    }
}

impl AsyncUdpSocket for SplitSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.quic.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.quic.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.quic.poll_recv(cx, buffers, metas))?;
        for (buffer, meta) in buffers.iter_mut().zip(metas).take(received) {
            self.split(buffer, meta);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quic.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.quic.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.quic.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.quic.may_fragment()
    }
}

impl fmt::Debug for SplitSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SplitSocket({:?})", self.quic)
    }
}
