//! `node.json`: what a node knows about itself when it starts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use muslin_core::state::Founding;
use prost::Message;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The format of `node.json` and `peers.json`. Unknown fields are refused: a version that adds one
/// raises this number.
pub(super) const FORMAT: u32 = 1;

/// Who a node is and how it is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's name, a label.
    pub cluster_name: String,
    /// The node.
    pub node: NodeId,
    /// The node's name, a label, unique among members.
    pub name: String,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What it performs; `control` may vote.
    pub roles: Vec<String>,
    /// Settings of the failure detector, and of elections, by name.
    pub profile: String,
    /// The cluster's membership history as the node last knew it.
    pub epoch: Epoch,
}

/// Where a node listens and what it tells others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Where it listens, UDP and TCP.
    pub listen: SocketAddr,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Where it serves plain etcd clients, if anywhere.
    pub etcd_listen: Option<SocketAddr>,
}

/// What one file says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Stored {
    pub(super) config: NodeConfig,
    pub(super) boot: u64,
    pub(super) founding: Founding,
}

/// How it says it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    cluster_id: String,
    cluster_name: String,
    node_id: String,
    name: String,
    listen: SocketAddr,
    advertise: SocketAddr,
    etcd_listen: Option<SocketAddr>,
    roles: Vec<String>,
    profile: String,
    epoch: u64,
    boot: u64,
    founding: String,
}

/// Why a file cannot be used.
pub(super) enum Refusal {
    Format(u32),
    Corrupt(String),
}

impl Stored {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let Stored { config, boot, founding } = self;
        let text = Text {
            format: FORMAT,
            cluster_id: config.cluster.to_string(),
            cluster_name: config.cluster_name.clone(),
            node_id: config.node.to_string(),
            name: config.name.clone(),
            listen: config.addresses.listen,
            advertise: config.addresses.advertise,
            etcd_listen: config.addresses.etcd_listen,
            roles: config.roles.clone(),
            profile: config.profile.clone(),
            epoch: config.epoch.0,
            boot: *boot,
            founding: STANDARD.encode(founding.encode_to_vec()),
        };
        to_json(&text)
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Stored, Refusal> {
        check_format(bytes)?;
        let text: Text = serde_json::from_slice(bytes).map_err(corrupt)?;
        let founding = STANDARD.decode(&text.founding).ok();
        let founding = founding.and_then(|bytes| Founding::decode(bytes.as_slice()).ok());
        let config = NodeConfig {
            cluster: field(
                "cluster_id",
                "32 hexadecimal digits",
                ClusterId::parse(&text.cluster_id),
            )?,
            cluster_name: text.cluster_name,
            node: field("node_id", "16 hexadecimal digits", NodeId::parse(&text.node_id))?,
            name: text.name,
            addresses: Addresses {
                listen: text.listen,
                advertise: text.advertise,
                etcd_listen: text.etcd_listen,
            },
            roles: text.roles,
            profile: text.profile,
            epoch: Epoch(text.epoch),
        };
        let founding = field("founding", "a founding in base64", founding)?;
        let boot = field("boot", "1 or more", Some(text.boot).filter(|boot| *boot > 0))?;
        Ok(Stored { config, boot, founding })
    }
}

/// The format comes first: a later one may have any fields.
pub(super) fn check_format(bytes: &[u8]) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
    if head.format == FORMAT { Ok(()) } else { Err(Refusal::Format(head.format)) }
}

pub(super) fn corrupt(error: serde_json::Error) -> Refusal {
    Refusal::Corrupt(error.to_string())
}

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("strings and numbers always encode");
    bytes.push(b'\n');
    bytes
}

fn field<T>(name: &str, expected: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::Corrupt(format!("field `{name}` is not {expected}")))
}
