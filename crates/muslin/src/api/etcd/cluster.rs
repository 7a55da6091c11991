//! Who belongs to the cluster, and is to.
//!
//! A member that is added is a place kept for it: listed without a name, as etcd lists one that has
//! not started. The node that comes to that address is admitted without a token, under an id of
//! its own, and takes the place.

use super::refuse;
use super::server::Etcd;
use crate::api::proto::etcdserverpb as pb;
use muslin_core::base::NodeId;
use muslin_core::node::{Consistency, NodeStatus};
use muslin_core::state::Response as Answered;
use muslin_core::state::{
    Asker, CommandKind, Invite, Member, Membership, MembershipChange, Query, Remove, Whom,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::{Request, Response, Status};

/// Who asks, where the record says it, when nobody in particular does.
const SOMEBODY: &str = "an etcd client";

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Etcd {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let peer_urls = checked(peer_ur_ls)?;
        let invite = Invite { id: drawn_id()?, peer_urls, is_learner };
        self.change_members(MembershipChange::Invite(invite.clone())).await?;
        let (members, header) = self.members(Consistency::Local).await?;
        let member = Some(place(invite));
        Ok(Response::new(pb::MemberAddResponse { header, member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.admit(request.metadata())?;
        let id = request.into_inner().id;
        if self.invite_of(id).await?.is_some() {
            self.change_members(MembershipChange::Uninvite(Whom { id })).await?;
        } else {
            self.member_of(id).await?;
            let remove = Remove { id, force: true, unix_ms: unix_ms() };
            self.write(CommandKind::Remove(remove)).await?;
        }
        let (members, header) = self.members(Consistency::Local).await?;
        Ok(Response::new(pb::MemberRemoveResponse { header, members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.admit(request.metadata())?;
        let pb::MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let peer_urls = checked(peer_ur_ls)?;
        match self.invite_of(id).await? {
            Some(invite) => {
                let changed = Invite { peer_urls, ..invite };
                self.change_members(MembershipChange::Invite(changed)).await?;
            }
            None => {
                let member = self.member_of(id).await?;
                let place = |url: &String| url.split_once("://").map(|(_, place)| place.into());
                if peer_urls.iter().any(|url| place(url) != Some(member.address.clone())) {
                    return Err(refuse::says_its_address(&member.name));
                }
            }
        }
        let (members, header) = self.members(Consistency::Local).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header, members }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        self.admit(request.metadata())?;
        let consistency = match request.into_inner().linearizable {
            true => Consistency::Linearizable,
            false => Consistency::Local,
        };
        let (members, header) = self.members(consistency).await?;
        Ok(Response::new(pb::MemberListResponse { header, members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.admit(request.metadata())?;
        let id = request.into_inner().id;
        if self.invite_of(id).await?.is_some() {
            return Err(refuse::learner_not_ready());
        }
        self.member_of(id).await?;
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        if status.configuration.is_voter(NodeId(id)) {
            return Err(refuse::not_a_learner());
        }
        self.change_members(MembershipChange::Promote(Whom { id })).await?;
        let (members, header) = self.members(Consistency::Local).await?;
        Ok(Response::new(pb::MemberPromoteResponse { header, members }))
    }
}

impl Etcd {
    /// Members, and behind them the places kept for others.
    async fn members(
        &self,
        consistency: Consistency,
    ) -> Result<(Vec<pb::Member>, super::convert::Header), Status> {
        let (invites, header) = self.read(Query::Invites, consistency).await?;
        let Answered::Invites { invites } = invites else { return Err(refuse::unexpected()) };
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        let mut rows: Vec<pb::Member> =
            status.members.iter().map(|one| row(&status, one)).collect();
        rows.extend(invites.into_iter().map(place));
        Ok((rows, header))
    }

    /// The place of this id, by what a quorum knows.
    async fn invite_of(&self, id: u64) -> Result<Option<Invite>, Status> {
        let (invites, _) = self.read(Query::Invites, Consistency::Linearizable).await?;
        let Answered::Invites { invites } = invites else { return Err(refuse::unexpected()) };
        Ok(invites.into_iter().find(|invite| invite.id == id))
    }

    /// The member of this id, as known here.
    async fn member_of(&self, id: u64) -> Result<Member, Status> {
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        let mut members = status.members.into_iter();
        members.find(|member| member.id == id).ok_or_else(refuse::member_not_found)
    }

    async fn change_members(&self, change: MembershipChange) -> Result<(), Status> {
        let by = match self.desk.handle.asker() {
            Asker::User(by) => format!("user {}", by.user).chars().take(SOMEBODY.len()).collect(),
            Asker::Cluster | Asker::Nobody => String::from(SOMEBODY),
        };
        let change = Membership { unix_ms: unix_ms(), by, change: Some(change) };
        self.write(CommandKind::Membership(change.into())).await.map(drop)
    }
}

/// As etcd: a scheme, a host, a port, and nothing behind them but a slash.
fn checked(urls: Vec<String>) -> Result<Vec<String>, Status> {
    let is_url = |url: &&String| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let port = rest.and_then(|rest| rest.rsplit_once(':'));
        port.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
    };
    let urls: Vec<String> =
        urls.iter().map(|url| url.strip_suffix('/').unwrap_or(url).to_string()).collect();
    match !urls.is_empty() && urls.iter().all(|url| is_url(&url)) {
        true => Ok(urls),
        false => Err(refuse::bad_member_urls()),
    }
}

/// A name or an address, as far as its letters tell.
fn is_host(text: &str) -> bool {
    let is_of_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_host)
}

/// A place kept for a node that is to come.
fn place(invite: Invite) -> pb::Member {
    let Invite { id, peer_urls, is_learner } = invite;
    pb::Member { id, peer_ur_ls: peer_urls, is_learner, ..pb::Member::default() }
}

fn row(status: &NodeStatus, member: &Member) -> pb::Member {
    let peer = format!("https://{}", member.address);
    let client = match member.etcd_address.as_str() {
        "" => peer.clone(),
        etcd => format!("http://{etcd}"),
    };
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_ur_ls: vec![peer],
        client_ur_ls: vec![client],
        is_learner: !status.configuration.is_voter(NodeId(member.id)),
    }
}

/// A random identity, never 0.
fn drawn_id() -> Result<u64, Status> {
    let mut bytes = [0; 8];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| Status::internal("muslin: the system has no randomness"))?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
