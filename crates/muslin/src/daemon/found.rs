//! Making a node: as the first of a cluster, beside others, or by joining.

use super::DaemonError;
use super::options::{InitAnswer, InitOptions, JoinOptions, JoinedAnswer};
use super::presence::Presence;
use crate::data_dir::{Addresses, DataDir, NodeConfig, PeersFile};
use crate::identity::{FIRST_EPOCH, Identity, draw_node_id};
use crate::join::{
    JoinError, JoinHeld, Joined, Joiner, Progress, Token, Wish, check_name, check_new_name,
    check_roles, greet, one_node_at,
};
use muslin_core::base::{NodeId, Prng};
use muslin_core::state::{Founding, Member};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the token made at init admits nodes.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

/// How often a join that waits is asked for: one entry of no consequence in the log, each time.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// When a member whom too many ask at once is asked again, about: those that it refused together
/// must not come back together.
const BUSY_AGAIN: Duration = Duration::from_secs(1);

/// And for how long: thousands have been let in by then.
const BUSY_PATIENCE: Duration = Duration::from_secs(60);

/// Makes the first node of a new cluster: its id, CA, gossip key, and a token for those who join.
pub fn init(options: InitOptions) -> Result<InitAnswer, DaemonError> {
    let answers = init_founders(vec![options])?;
    Ok(answers.into_iter().next().expect("one founder gives one answer"))
}

/// Makes the nodes of a new cluster that vote from the start. On one machine: they share one CA.
pub fn init_founders(founders: Vec<InitOptions>) -> Result<Vec<InitAnswer>, DaemonError> {
    for founder in &founders {
        check_new_name(&founder.name)?;
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
    let mut identities = vec![root];
    for _ in 1..founders.len() {
        let sibling = identities[0].sibling(draw_node_id(), &ips)?;
        identities.push(sibling);
    }
    let members = (founders.iter().zip(&identities))
        .map(|(options, identity)| member(options, identity))
        .collect::<Result<Vec<Member>, DaemonError>>()?;
    let (founding, token) = founding_of(&identities[0], members)?;
    let mut answers = Vec::new();
    for (options, identity) in founders.iter().zip(&identities) {
        let config = founder_config(options, identity)?;
        let papers = |path: &Path| Ok::<(), DaemonError>(identity.save(path)?);
        DataDir::create_with(&options.data_dir, config, founding.clone(), papers)?;
        answers.push(InitAnswer {
            join_line_token: token.expose(),
            node: identity.node,
            cluster: identity.cluster,
            address: reachable(options.listen, options.advertise)?,
        });
    }
    Ok(answers)
}

/// What a cluster with this authority and these members starts from, and the token that is in it.
pub(super) fn founding_of(
    root: &Identity,
    members: Vec<Member>,
) -> Result<(Founding, Token), DaemonError> {
    let token = Token::generate(root.cluster, root.ca_fingerprint()?);
    // Any number of nodes: 0 uses.
    let tokens = vec![token.record(SystemTime::now() + TOKEN_LIFE, 0)];
    let gossip_key = root.keyring.sealing().secret.to_vec().into();
    Ok((Founding { members, tokens, gossip_key, ..Founding::default() }, token))
}

/// Asks a cluster to admit a node and makes it. Private keys stay here. `tell` hears of a join that
/// waits, with the code that people compare.
///
/// Called again with the same options after it ended without an answer, it is the same node that
/// asks.
pub async fn join(
    options: JoinOptions,
    tell: impl Fn(&JoinHeld, &str),
) -> Result<JoinedAnswer, DaemonError> {
    check_new_name(&options.name)?;
    check_roles(&options.roles)?;
    super::ways::check(&options.seeds, &options.discover)?;
    let advertise = reachable(options.listen, options.advertise)?;
    // Before the cluster is asked: a node that could not be made must not be admitted.
    DataDir::check_unused(&options.data_dir)?;
    DataDir::check_room(&[&options.data_dir])?;
    let wish = Wish {
        name: options.name.clone(),
        address: advertise,
        etcd_address: options.etcd_listen,
        roles: options.roles.clone(),
        requires: options.requires.clone(),
        requires_for_bootstrap: options.requires_for_bootstrap.clone(),
        zone: options.zone.clone(),
    };
    let contact = super::ways::contact(&options).await?;
    let listens = options.reach_check;
    let joiner = prepare(&options, wish, contact).await?.listening(listens);
    let presence = match listens {
        true => Some(Presence::begin(joiner.node(), options.listen, options.etcd_listen).await?),
        false => None,
    };
    let was_begun = Joiner::is_pending(&options.data_dir);
    joiner.begin(&options.data_dir)?;
    let joined = match wait(&joiner, &options, contact, tell).await {
        Err(error) => {
            // Nothing will come of it any more: other options may be given.
            if error.is_final() || !was_begun && !error.was_asked() {
                Joiner::end(&options.data_dir);
            }
            return Err(error.into());
        }
        Ok(joined) => joined,
    };
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
    let answer = JoinedAnswer { node: joiner.node(), cluster: joined.identity.cluster };
    settle(&options.data_dir, config, joined)?;
    Joiner::end(&options.data_dir);
    if let Some(presence) = presence {
        presence.end().await;
    }
    Ok(answer)
}

/// The join that was begun in this directory, if it was and asks for the same; otherwise a new one.
async fn prepare(
    options: &JoinOptions,
    wish: Wish,
    contact: SocketAddr,
) -> Result<Joiner, JoinError> {
    let token = options.token.as_deref().map(Token::parse).transpose()?;
    let begun = Joiner::pending(&options.data_dir)?;
    let means = |joiner: &Joiner| {
        let trust = joiner.trust();
        let is_same =
            |token: &Token| token.cluster == trust.cluster && token.ca_hash == trust.ca_hash;
        token.as_ref().is_none_or(is_same)
    };
    let begun = begun.filter(|joiner| means(joiner) && joiner.wants(wish.clone()));
    match (begun, &token, &options.token) {
        (Some(joiner), Some(token), _) => Ok(joiner.with_token(token)),
        (Some(joiner), None, _) => Ok(joiner),
        (None, Some(_), Some(text)) => Joiner::new(text, wish),
        _ => Joiner::without_token(greet(contact).await?, wish),
    }
}

/// Asks until it is decided, or for as long as its person would wait.
async fn wait(
    joiner: &Joiner,
    options: &JoinOptions,
    contact: SocketAddr,
    tell: impl Fn(&JoinHeld, &str),
) -> Result<Joined, JoinError> {
    let until = tokio::time::Instant::now() + options.wait;
    let mut told = None;
    loop {
        let is_over = tokio::time::Instant::now() + ASK_AGAIN > until;
        let held = match ask(joiner, contact).await {
            Ok(Progress::Admitted(joined)) => return Ok(*joined),
            Ok(Progress::Held(held)) => held,
            // The cluster holds the join, whatever became of the node that was asked.
            Err(error) if told.is_some() && error.may_pass() && !is_over => {
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if told.as_ref() != Some(&held) {
            tell(&held, &joiner.code());
            told = Some(held.clone());
        }
        if is_over {
            let (waits_for, name) = (held.waits_for, options.name.clone());
            return Err(JoinError::Held { waits_for, name });
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Asks once, and again while the member has too much to do.
async fn ask(joiner: &Joiner, contact: SocketAddr) -> Result<Progress, JoinError> {
    let mut prng = Prng::seeded(joiner.node().0);
    let until = tokio::time::Instant::now() + BUSY_PATIENCE;
    loop {
        let asked = joiner.ask(contact).await;
        let is_busy = matches!(&asked, Err(JoinError::Refused { code, .. }) if code == "busy");
        let pause = prng.duration(BUSY_AGAIN / 2, BUSY_AGAIN * 3 / 2);
        if !is_busy || tokio::time::Instant::now() + pause > until {
            return asked;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Makes the directory of a node that was admitted.
pub(super) fn settle(
    data_dir: &Path,
    config: NodeConfig,
    joined: Joined,
) -> Result<(), DaemonError> {
    let node = config.node;
    let Joined { identity, founding, members, .. } = joined;
    let peers: BTreeMap<NodeId, SocketAddr> = (members.iter())
        .filter_map(|member| Some((NodeId::parse(&member.id)?, member.address.parse().ok()?)))
        .filter(|(other, _)| *other != node)
        .collect();
    DataDir::create_with(data_dir, config, founding, |path| {
        identity.save(path)?;
        PeersFile::of(path).save(&peers)?;
        Ok::<(), DaemonError>(())
    })?;
    Ok(())
}

pub(super) fn founder_config(
    options: &InitOptions,
    identity: &Identity,
) -> Result<NodeConfig, DaemonError> {
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

pub(super) fn member(options: &InitOptions, identity: &Identity) -> Result<Member, DaemonError> {
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
    one_node_at(address).ok_or(DaemonError::Unspecified(address))
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
