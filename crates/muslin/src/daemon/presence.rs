//! Being where one says, before one is a member.
//!
//! A joiner takes the ports that the node will have, so that one that is taken is found before the
//! cluster admits anybody, and names itself to whoever connects: the member that admits tries it.

use super::DaemonError;
use muslin_core::base::NodeId;
use std::net::{SocketAddr, UdpSocket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The ports of a node that asks to be admitted. They are free again when it is ended, or soon
/// after it is dropped.
pub(super) struct Presence {
    answering: JoinHandle<()>,
}

impl Presence {
    /// Takes the ports, and answers for the node.
    pub(super) async fn begin(
        node: NodeId,
        listen: SocketAddr,
        etcd: Option<SocketAddr>,
    ) -> Result<Presence, DaemonError> {
        let refuse =
            |address, side, option, source| DaemonError::Listen { address, side, option, source };
        let udp =
            UdpSocket::bind(listen).map_err(|error| refuse(listen, "UDP", "--listen", error))?;
        let tcp = TcpListener::bind(listen)
            .await
            .map_err(|error| refuse(listen, "TCP", "--listen", error))?;
        let etcd = match etcd {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|error| refuse(address, "TCP", "--etcd-listen", error))?,
            ),
            None => None,
        };
        let answering = tokio::spawn(async move {
            let _kept = (udp, etcd);
            let name = node.to_string();
            loop {
                // Whoever connects and does not read has a few bytes in its own buffer.
                if let Ok((mut stream, _)) = tcp.accept().await {
                    let _ = stream.write_all(name.as_bytes()).await;
                }
            }
        });
        Ok(Presence { answering })
    }

    /// The ports are free when it returns.
    pub(super) async fn end(mut self) {
        self.answering.abort();
        let _ = (&mut self.answering).await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.answering.abort();
    }
}
