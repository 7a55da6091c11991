//! What joiner and member say to each other, as JSON.

use super::token::Proof;
use muslin_core::state::Member;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest request taken: a certificate request and a token have about one KiB.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Largest answer taken: certificates, keys and some thousands of members.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What a joiner that listens says to whoever connects to it: its id in hexadecimal digits.
pub const NAMED_BYTES: usize = 16;

/// No signature for something else begins like that.
const SIGNED_LABEL: &[u8] = b"muslin join 1";

/// Asks to be admitted. Nothing in it is a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The joiner's node id, 16 hexadecimal digits, drawn by itself.
    pub node: String,
    /// The name it wants.
    pub name: String,
    /// Where peers will reach it, `ip:port`.
    pub address: String,
    /// Where it serves plain etcd clients, `ip:port`; empty when nowhere.
    #[serde(default)]
    pub etcd_address: String,
    /// What it wants to perform.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Roles that somebody must perform for it to operate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Roles that somebody must perform before it is admitted: until then the join is held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_for_bootstrap: Vec<String>,
    /// What it shares its fate with: a rack, a room; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// A request for a certificate (PKCS #10, PEM) that names the node.
    pub csr_pem: String,
    /// The joiner answers at its address while it asks, so that whoever admits can try it, see
    /// [`NAMED_BYTES`]. Not signed: whoever passes the request on could spare or cost a try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listens: bool,
    /// Shows that the joiner has a token, which asks for exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl JoinRequest {
    /// What the token's key signs: all of it but the proof, each part with its length in front.
    pub(super) fn signed(&self) -> Vec<u8> {
        let mut signed = SIGNED_LABEL.to_vec();
        let mut add = |word: &String| {
            signed.extend_from_slice(&(word.len() as u64).to_be_bytes());
            signed.extend_from_slice(word.as_bytes());
        };
        let one = [&self.node, &self.name, &self.address, &self.etcd_address, &self.zone];
        one.into_iter().chain([&self.csr_pem]).for_each(&mut add);
        for list in [&self.roles, &self.requires, &self.requires_for_bootstrap] {
            add(&list.len().to_string());
            list.iter().for_each(&mut add);
        }
        signed
    }
}

/// What a request comes to, unless it is refused.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JoinReply {
    /// The node is a member.
    Admitted(Box<JoinAnswer>),
    /// It waits: the same request, made again, asks how it stands.
    Held(JoinHeld),
}

/// A join that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JoinHeld {
    /// For what, in words.
    pub waits_for: String,
    /// Nobody has to decide: it goes through when somebody performs these roles.
    #[serde(default)]
    pub missing_roles: Vec<String>,
    /// Until when, Unix milliseconds.
    pub expires_unix_ms: u64,
}

/// What an admitted node needs to begin. `Debug` hides the keys.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// 32 hexadecimal digits.
    pub cluster: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// Number of the cluster's membership history.
    pub epoch: u64,
    /// The authority's certificate.
    pub ca_pem: String,
    /// The joiner's certificate.
    pub certificate_pem: String,
    /// What peers ask the joiner to show: base64 of a signed [`Ticket`](crate::identity::Ticket).
    pub ticket: String,
    /// The authority's key, for a node with role `control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_key_pem: Option<String>,
    /// The keys that seal gossip, as [`Keyring::to_json`](crate::identity::Keyring::to_json).
    pub gossip_keys: String,
    /// What the cluster started from: base64 of the encoded founding.
    pub founding: String,
    /// How many members there are.
    #[serde(default)]
    pub members_total: usize,
    /// Members, the joiner included: all, or as many as it needs to begin with.
    pub members: Vec<JoinMember>,
}

impl fmt::Debug for JoinAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members.len();
        write!(
            f,
            "JoinAnswer(cluster {} epoch {}, {members} members, ..)",
            self.cluster, self.epoch
        )
    }
}

/// One member, as an answer tells it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JoinMember {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where peers reach it, `ip:port`.
    pub address: String,
    /// Where it serves plain etcd clients; empty when nowhere.
    #[serde(default)]
    pub etcd_address: String,
    /// What it performs.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl From<&Member> for JoinMember {
    fn from(member: &Member) -> JoinMember {
        JoinMember {
            id: format!("{:016x}", member.id),
            name: member.name.clone(),
            address: member.address.clone(),
            etcd_address: member.etcd_address.clone(),
            roles: member.roles.clone(),
        }
    }
}
