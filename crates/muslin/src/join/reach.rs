//! Whether a node is where it says.
//!
//! A joiner holds the ports that it will have and names itself to whoever connects, while it asks.
//! The member that admits connects before anything is written: a firewall, a mistyped address or
//! one of another node is found while its person still looks, and not when a member is unreachable.

use super::admit::JoinRefusal;
use super::message::NAMED_BYTES;
use muslin_core::base::NodeId;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long the joiner may take to name itself: several round trips around the world, and one
/// packet that is lost.
const NAMED_IN: Duration = Duration::from_secs(3);

/// The one form of an address at which one node can be reached; `None` where it is no such address.
pub(crate) fn one_node_at(address: SocketAddr) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    let is_nowhere = ip.is_unspecified()
        || ip.is_multicast()
        || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
        || address.port() == 0;
    let scoped = if ip == address.ip() { address } else { SocketAddr::new(ip, address.port()) };
    (!is_nowhere).then_some(scoped)
}

/// Connects to a joiner that says it listens.
pub(super) async fn reach(address: SocketAddr, node: NodeId) -> Result<(), JoinRefusal> {
    let what = match tokio::time::timeout(NAMED_IN, named_at(address)).await {
        Ok(Ok(name)) if name == node.to_string().as_bytes() => return Ok(()),
        Ok(Ok(_)) => String::from("something else answers there"),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            String::from("something else answers there")
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("nothing answers there within {} s", NAMED_IN.as_secs()),
    };
    let detail = format!("the node asks to be reached at {address} and is not there: {what}");
    let hint = "say with --advertise where the other nodes reach it, and let TCP and UDP through \
                to that port; where that holds only once it runs, join with --no-reach-check";
    Err(JoinRefusal::new(409, "address-unreachable", detail, hint))
}

async fn named_at(address: SocketAddr) -> io::Result<[u8; NAMED_BYTES]> {
    let mut stream = TcpStream::connect(address).await?;
    let mut name = [0; NAMED_BYTES];
    stream.read_exact(&mut name).await?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_nodes_and_has_one_form() {
        let at = |text: &str| one_node_at(text.parse().unwrap()).map(|one| one.to_string());
        assert_eq!(at("10.0.0.1:7400").as_deref(), Some("10.0.0.1:7400"));
        assert_eq!(at("[::ffff:10.0.0.1]:7400").as_deref(), Some("10.0.0.1:7400"));
        assert_eq!(at("[fe80::1%3]:7400").as_deref(), Some("[fe80::1%3]:7400"));
        for nowhere in
            ["0.0.0.0:1", "[::]:1", "10.0.0.1:0", "239.1.1.1:1", "[ff02::1]:1", "255.255.255.255:1"]
        {
            assert_eq!(at(nowhere), None, "{nowhere}");
        }
    }
}
