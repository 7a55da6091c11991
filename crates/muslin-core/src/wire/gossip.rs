//! Gossip datagrams, before they are sealed.

use super::log::Nothing;
use super::{WireError, encode};
use crate::base::{Epoch, Incarnation, NodeId};
use crate::swim;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use prost::Message as _;

/// Tag of the rumors in a packet; one byte with its wire type, so that rumors stay cheap.
const RUMORS_TAG: u32 = 15;

/// One datagram, not yet sealed.
pub fn encode_packet(packet: &swim::Packet) -> Bytes {
    encode(&Packet::from(packet))
}

/// Reads what [`encode_packet`] wrote.
pub fn decode_packet(bytes: Bytes) -> Result<swim::Packet, WireError> {
    Packet::decode(bytes)?.try_into()
}

/// How many bytes [`encode_packet`] would write.
pub fn packet_len(packet: &swim::Packet) -> usize {
    Packet::from(packet).encoded_len()
}

/// How many bytes a rumor adds to a packet.
pub fn rumor_len(rumor: &swim::Rumor) -> usize {
    prost::encoding::message::encoded_len(RUMORS_TAG, &Rumor::from(rumor))
}

/// How many bytes metadata takes.
pub fn metadata_len(metadata: &swim::Metadata) -> usize {
    Metadata::from(metadata).encoded_len()
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Packet {
    #[prost(fixed64, tag = "1")]
    from: u64,
    #[prost(uint64, tag = "2")]
    incarnation: u64,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(oneof = "Kind", tags = "4, 5, 6, 7, 8, 9, 10, 11")]
    kind: Option<Kind>,
    // The tag is [`RUMORS_TAG`]; the attribute takes a literal only.
    #[prost(message, repeated, tag = "15")]
    rumors: Vec<Rumor>,
}

#[derive(Clone, PartialEq, ::prost::Oneof)]
enum Kind {
    #[prost(message, tag = "4")]
    Ping(Ping),
    #[prost(message, tag = "5")]
    Ack(Ack),
    #[prost(message, tag = "6")]
    PingRequest(PingRequest),
    #[prost(message, tag = "7")]
    IndirectAck(IndirectAck),
    #[prost(message, tag = "8")]
    Gossip(Nothing),
    #[prost(message, tag = "9")]
    Sync(Sync),
    #[prost(message, tag = "10")]
    SyncReply(SyncReply),
    #[prost(message, tag = "11")]
    Nack(IndirectAck),
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Ping {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(fixed64, optional, tag = "2")]
    target: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Ack {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(message, optional, tag = "2")]
    observed: Option<Address>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct PingRequest {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(fixed64, tag = "2")]
    target: u64,
    #[prost(message, optional, tag = "3")]
    address: Option<Address>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct IndirectAck {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(fixed64, tag = "2")]
    target: u64,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Sync {
    #[prost(fixed32, repeated, tag = "1")]
    sums: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct SyncReply {
    #[prost(fixed64, tag = "1")]
    wanted: u64,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Rumor {
    #[prost(fixed64, tag = "1")]
    node: u64,
    #[prost(uint32, tag = "2")]
    state: u32,
    #[prost(uint64, tag = "3")]
    incarnation: u64,
    #[prost(message, optional, tag = "4")]
    address: Option<Address>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
    #[prost(fixed64, tag = "6")]
    by: u64,
    #[prost(bytes = "bytes", tag = "7")]
    ticket: Bytes,
    #[prost(uint32, tag = "8")]
    gone_s: u32,
}

#[derive(Clone, PartialEq, ::prost::Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    roles: Vec<String>,
    #[prost(string, tag = "3")]
    etcd_address: String,
    #[prost(uint32, tag = "4")]
    protocol_min: u32,
    #[prost(uint32, tag = "5")]
    protocol_max: u32,
    #[prost(string, tag = "6")]
    version: String,
    #[prost(bool, tag = "7")]
    is_rebuilding: bool,
    #[prost(uint32, tag = "8")]
    load: u32,
    #[prost(bytes = "bytes", tag = "9")]
    application: Bytes,
}

/// Numbers, not text or byte strings: reading an address allocates nothing.
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
struct Address {
    #[prost(uint32, tag = "1")]
    port: u32,
    #[prost(fixed32, optional, tag = "2")]
    v4: Option<u32>,
    #[prost(fixed64, optional, tag = "3")]
    v6_high: Option<u64>,
    #[prost(fixed64, tag = "4")]
    v6_low: u64,
    #[prost(uint32, tag = "5")]
    v6_scope: u32,
}

impl From<&swim::Packet> for Packet {
    fn from(packet: &swim::Packet) -> Packet {
        Packet {
            from: packet.from.0,
            incarnation: packet.incarnation.0,
            epoch: packet.epoch.0,
            kind: Some((&packet.kind).into()),
            rumors: packet.rumors.iter().map(Rumor::from).collect(),
        }
    }
}

impl From<&swim::PacketKind> for Kind {
    fn from(kind: &swim::PacketKind) -> Kind {
        match *kind {
            swim::PacketKind::Ping { number, target } => {
                Kind::Ping(Ping { number, target: target.map(|id| id.0) })
            }
            swim::PacketKind::Ack { number, observed } => {
                Kind::Ack(Ack { number, observed: observed.map(Address::from) })
            }
            swim::PacketKind::PingRequest { number, target, address } => {
                let address = Some(address.into());
                Kind::PingRequest(PingRequest { number, target: target.0, address })
            }
            swim::PacketKind::IndirectAck { number, target } => {
                Kind::IndirectAck(IndirectAck { number, target: target.0 })
            }
            swim::PacketKind::Nack { number, target } => {
                Kind::Nack(IndirectAck { number, target: target.0 })
            }
            swim::PacketKind::Gossip => Kind::Gossip(Nothing {}),
            swim::PacketKind::Sync { ref digest } => {
                Kind::Sync(Sync { sums: digest.sums().to_vec() })
            }
            swim::PacketKind::SyncReply { wanted } => {
                Kind::SyncReply(SyncReply { wanted: wanted.0 })
            }
        }
    }
}

impl From<&swim::Rumor> for Rumor {
    fn from(rumor: &swim::Rumor) -> Rumor {
        let state = match rumor.state {
            swim::Liveness::Alive => 1,
            swim::Liveness::Suspect => 2,
            swim::Liveness::Down => 3,
            swim::Liveness::Left => 4,
        };
        Rumor {
            node: rumor.node.0,
            state,
            incarnation: rumor.incarnation.0,
            address: rumor.address.map(Address::from),
            metadata: rumor.metadata.as_ref().map(Metadata::from),
            by: rumor.by.0,
            ticket: rumor.ticket.clone(),
            gone_s: rumor.gone_s,
        }
    }
}

impl From<&swim::Metadata> for Metadata {
    fn from(metadata: &swim::Metadata) -> Metadata {
        Metadata {
            name: metadata.name.clone(),
            roles: metadata.roles.clone(),
            etcd_address: metadata.etcd_address.clone(),
            protocol_min: metadata.protocol.0,
            protocol_max: metadata.protocol.1,
            version: metadata.version.clone(),
            is_rebuilding: metadata.is_rebuilding,
            load: metadata.load,
            application: metadata.application.clone(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let port = u32::from(address.port());
        match address {
            SocketAddr::V4(v4) => {
                Address { port, v4: Some(u32::from(*v4.ip())), ..Address::default() }
            }
            SocketAddr::V6(v6) => {
                let bits = u128::from(*v6.ip());
                Address {
                    port,
                    v4: None,
                    v6_high: Some((bits >> 64) as u64),
                    v6_low: bits as u64,
                    v6_scope: v6.scope_id(),
                }
            }
        }
    }
}

impl TryFrom<Packet> for swim::Packet {
    type Error = WireError;

    fn try_from(packet: Packet) -> Result<swim::Packet, WireError> {
        let rumors = packet.rumors.into_iter().map(swim::Rumor::try_from);
        Ok(swim::Packet {
            from: NodeId(packet.from),
            incarnation: Incarnation(packet.incarnation),
            epoch: Epoch(packet.epoch),
            kind: packet.kind.ok_or(WireError::UnknownKind)?.try_into()?,
            rumors: rumors.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<Kind> for swim::PacketKind {
    type Error = WireError;

    fn try_from(kind: Kind) -> Result<swim::PacketKind, WireError> {
        Ok(match kind {
            Kind::Ping(Ping { number, target }) => {
                swim::PacketKind::Ping { number, target: target.map(NodeId) }
            }
            Kind::Ack(Ack { number, observed }) => {
                let observed = observed.map(SocketAddr::try_from).transpose()?;
                swim::PacketKind::Ack { number, observed }
            }
            Kind::PingRequest(PingRequest { number, target, address }) => {
                let address = address.ok_or(WireError::Missing("a request without address"))?;
                let address = address.try_into()?;
                swim::PacketKind::PingRequest { number, target: NodeId(target), address }
            }
            Kind::IndirectAck(IndirectAck { number, target }) => {
                swim::PacketKind::IndirectAck { number, target: NodeId(target) }
            }
            Kind::Nack(IndirectAck { number, target }) => {
                swim::PacketKind::Nack { number, target: NodeId(target) }
            }
            Kind::Gossip(Nothing {}) => swim::PacketKind::Gossip,
            Kind::Sync(Sync { sums }) => {
                let sums = <[u32; swim::BUCKETS]>::try_from(sums)
                    .map_err(|_| WireError::Invalid("a digest of another number of buckets"))?;
                swim::PacketKind::Sync { digest: swim::Digest::new(sums) }
            }
            Kind::SyncReply(SyncReply { wanted }) => {
                swim::PacketKind::SyncReply { wanted: swim::Buckets(wanted) }
            }
        })
    }
}

impl TryFrom<Rumor> for swim::Rumor {
    type Error = WireError;

    fn try_from(rumor: Rumor) -> Result<swim::Rumor, WireError> {
        let state = match rumor.state {
            1 => swim::Liveness::Alive,
            2 => swim::Liveness::Suspect,
            3 => swim::Liveness::Down,
            4 => swim::Liveness::Left,
            _ => return Err(WireError::UnknownKind),
        };
        Ok(swim::Rumor {
            node: NodeId(rumor.node),
            state,
            incarnation: Incarnation(rumor.incarnation),
            address: rumor.address.map(SocketAddr::try_from).transpose()?,
            metadata: rumor.metadata.map(swim::Metadata::from),
            by: NodeId(rumor.by),
            ticket: rumor.ticket,
            gone_s: rumor.gone_s,
        })
    }
}

impl From<Metadata> for swim::Metadata {
    fn from(metadata: Metadata) -> swim::Metadata {
        swim::Metadata {
            name: metadata.name,
            roles: metadata.roles,
            etcd_address: metadata.etcd_address,
            protocol: (metadata.protocol_min, metadata.protocol_max),
            version: metadata.version,
            is_rebuilding: metadata.is_rebuilding,
            load: metadata.load,
            application: metadata.application,
        }
    }
}

impl TryFrom<Address> for SocketAddr {
    type Error = WireError;

    fn try_from(address: Address) -> Result<SocketAddr, WireError> {
        let port =
            u16::try_from(address.port).map_err(|_| WireError::Invalid("a port above 65535"))?;
        if let Some(v4) = address.v4 {
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(v4)), port));
        }
        let high = address.v6_high.ok_or(WireError::Missing("an address without ip"))?;
        let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(address.v6_low));
        // The flow label belongs to a connection, not to a place: it does not travel.
        Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, address.v6_scope)))
    }
}
