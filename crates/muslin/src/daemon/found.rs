//! Making a node: as the first of a cluster, beside others, or by joining.

use super::DaemonError;
use super::options::{InitAnswer, InitOptions, JoinOptions, JoinedAnswer};
use crate::data_dir::{Addresses, DataDir, NodeConfig};
use crate::identity::{Identity, draw_node_id};
use crate::join::{Joiner, Token, Wish, check_name, check_roles};
use muslin_core::base::{Epoch, NodeId};
use muslin_core::state::{Founding, Member};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the token made at init admits nodes.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

/// The first epoch of a cluster.
const FIRST_EPOCH: Epoch = Epoch(1);

/// Makes the first node of a new cluster: its id, CA, gossip key, and a token for those who join.
pub fn init(options: InitOptions) -> Result<InitAnswer, DaemonError> {
    let answers = init_founders(vec![options])?;
    Ok(answers.into_iter().next().expect("one founder gives one answer"))
}

/// Makes the nodes of a new cluster that vote from the start. On one machine: they share one CA.
pub fn init_founders(founders: Vec<InitOptions>) -> Result<Vec<InitAnswer>, DaemonError> {
    for founder in &founders {
        check_name(&founder.name)?;
        check_name(&founder.cluster_name)?;
        check_roles(&founder.roles)?;
        reachable(founder.listen, founder.advertise)?;
    }
    check_founders(&founders)?;
    let places: Vec<&Path> = founders.iter().map(|one| one.data_dir.as_path()).collect();
    DataDir::check_room(&places)?;
    let Some(first) = founders.first() else { return Ok(Vec::new()) };
    let ips: Vec<_> = founders.iter().map(|one| one.advertise.unwrap_or(one.listen).ip()).collect();
    let root = Identity::found(&first.cluster_name, draw_node_id(), &ips)?;
    let token = Token::generate(root.cluster, root.ca_fingerprint()?);
    // Any number of nodes: 0 uses.
    let stored = token.record(SystemTime::now() + TOKEN_LIFE, 0);
    let mut identities = vec![root];
    for _ in 1..founders.len() {
        let sibling = identities[0].sibling(draw_node_id(), &ips)?;
        identities.push(sibling);
    }
    let members = (founders.iter().zip(&identities))
        .map(|(options, identity)| member(options, identity))
        .collect::<Result<Vec<Member>, DaemonError>>()?;
    let founding = Founding { members, tokens: vec![stored], ..Founding::default() };
    let mut answers = Vec::new();
    for (options, identity) in founders.iter().zip(&identities) {
        let config = founder_config(options, identity)?;
        let directory = DataDir::create(&options.data_dir, config, founding.clone())?;
        identity.save(directory.path())?;
        answers.push(InitAnswer {
            join_line_token: token.expose(),
            node: identity.node,
            cluster: identity.cluster,
            address: reachable(options.listen, options.advertise)?,
        });
    }
    Ok(answers)
}

/// Asks a cluster to admit a node and makes it. Private keys stay here.
pub async fn join(options: JoinOptions) -> Result<JoinedAnswer, DaemonError> {
    check_name(&options.name)?;
    check_roles(&options.roles)?;
    let advertise = reachable(options.listen, options.advertise)?;
    // Before the cluster is asked: a node that could not be made must not be admitted.
    DataDir::check_unused(&options.data_dir)?;
    DataDir::check_room(&[&options.data_dir])?;
    let wish = Wish {
        name: options.name.clone(),
        address: advertise,
        etcd_address: options.etcd_listen,
        roles: options.roles.clone(),
    };
    let joiner = Joiner::new(&options.token, wish)?;
    let joined = joiner.join(options.contact).await?;
    let addresses =
        Addresses { listen: options.listen, advertise, etcd_listen: options.etcd_listen };
    let config = NodeConfig {
        cluster: joined.identity.cluster,
        cluster_name: joined.identity.cluster_name.clone(),
        node: joiner.node(),
        name: options.name,
        addresses,
        roles: options.roles,
        profile: options.profile.name().to_string(),
        epoch: joined.epoch,
    };
    let directory = DataDir::create(&options.data_dir, config, joined.founding)?;
    joined.identity.save(directory.path())?;
    let peers: BTreeMap<NodeId, SocketAddr> = (joined.members.iter())
        .filter_map(|member| Some((NodeId::parse(&member.id)?, member.address.parse().ok()?)))
        .filter(|(node, _)| *node != joiner.node())
        .collect();
    directory.peers_file().save(&peers)?;
    Ok(JoinedAnswer { node: joiner.node(), cluster: joined.identity.cluster })
}

fn founder_config(options: &InitOptions, identity: &Identity) -> Result<NodeConfig, DaemonError> {
    Ok(NodeConfig {
        cluster: identity.cluster,
        cluster_name: options.cluster_name.clone(),
        node: identity.node,
        name: options.name.clone(),
        addresses: Addresses {
            listen: options.listen,
            advertise: reachable(options.listen, options.advertise)?,
            etcd_listen: options.etcd_listen,
        },
        roles: options.roles.clone(),
        profile: options.profile.name().to_string(),
        epoch: FIRST_EPOCH,
    })
}

fn member(options: &InitOptions, identity: &Identity) -> Result<Member, DaemonError> {
    Ok(Member {
        id: identity.node.0,
        name: options.name.clone(),
        address: reachable(options.listen, options.advertise)?.to_string(),
        etcd_address: options.etcd_listen.map(|at| at.to_string()).unwrap_or_default(),
        roles: options.roles.clone(),
        key_hash: identity.key_hash()?.to_vec().into(),
        ..Member::default()
    })
}

/// Where others reach a node that listens here.
pub(super) fn reachable(
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
) -> Result<SocketAddr, DaemonError> {
    let address = advertise.unwrap_or(listen);
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(DaemonError::Unspecified(address));
    }
    Ok(address)
}

fn check_founders(founders: &[InitOptions]) -> Result<(), DaemonError> {
    let mut names: Vec<&str> = founders.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(DaemonError::Founders("two founders have the same name"));
    }
    let is_control = |one: &InitOptions| one.roles.iter().any(|role| role == "control");
    if !founders.iter().any(is_control) {
        return Err(DaemonError::Founders(
            "a cluster needs a founder with the role `control`; add it with --roles control",
        ));
    }
    Ok(())
}

/// Wall-clock time, for tokens.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
