//! Which ways a node takes to find the others: one that is a member, and one that wants to be.

use super::wallet::Wallet;
use super::{DaemonError, JoinOptions, UpOptions};
use crate::data_dir::DataDir;
use crate::discovery::{
    Announcement, Combined, Discovery, Fixed, LastSeen, Listed, Local, Member, Method, Multicast,
    Patient, Seeds, Srv, StaticList, Told, runtime_directory,
};
use crate::join::{JoinError, Joiner, Token, Trust, greet};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a joiner looks for somebody who answers: several beacons, a name server that is slow.
const LOOK_FOR: Duration = Duration::from_secs(15);

/// How often it looks at what was found meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Most nodes that a joiner asks: what it hears by multicast anybody may have made up.
const ASKED_MAX: usize = 32;

/// Refuses what does not go together, before anything is done.
pub(super) fn check(seeds: &[String], methods: &[Method]) -> Result<(), DaemonError> {
    Seeds::new(seeds)?;
    let is_static = static_list(methods).is_some();
    if is_static && (methods.len() > 1 || !seeds.is_empty()) {
        return Err(DaemonError::StaticAndMore);
    }
    Ok(())
}

/// The list, if membership is static.
pub(super) fn static_list(methods: &[Method]) -> Option<&StaticList> {
    methods.iter().find_map(|method| match method {
        Method::Static(list) => Some(list),
        Method::Srv(_) | Method::Multicast(_) => None,
    })
}

/// For a member: the founders, the members last seen, those of the record that were not heard yet,
/// what it was told to try, and other nodes of this host.
pub(super) fn of_member(
    options: &UpOptions,
    directory: &DataDir,
    wallet: &Arc<Wallet>,
    unheard: Told,
) -> Result<(Combined, Option<Announcement>), DaemonError> {
    let config = directory.config();
    let own = config.addresses.advertise;
    if static_list(&options.discover).is_some() {
        return Ok((Combined::new(own), None));
    }
    let founders = directory.founding().members.iter();
    let founders = founders.filter_map(|member| member.address.parse().ok());
    let mut combined = Combined::new(own)
        .with(Fixed::new(founders))
        .with(LastSeen::new(directory))
        .with(Seeds::new(options.seeds.clone())?);
    for method in &options.discover {
        combined = match method {
            Method::Srv(name) => combined.with(Patient::new(Srv::new(name.clone()))),
            Method::Multicast(group) => {
                let boot = directory.boot();
                let (cluster, node) = (config.cluster, config.node);
                let member = Member { cluster, node, boot, address: own };
                let wallet = wallet.clone();
                let keys = Box::new(move || wallet.identity().keyring.clone());
                let group = group.near(config.addresses.listen.ip());
                combined.with(Multicast::of_member(group, member, keys))
            }
            Method::Static(_) => combined,
        };
    }
    let here = runtime_directory();
    match Local::announce(&here, config.cluster, config.node, own) {
        Ok((local, announcement)) => Ok((combined.with(local).with(unheard), Some(announcement))),
        Err(error) => {
            let directory = here.display();
            tracing::warn!(%directory, %error, "other nodes of this host will not find this one");
            Ok((combined.with(unheard), None))
        }
    }
}

/// For a joiner: what it was told to try.
fn of_joiner(options: &JoinOptions, trust: Option<Trust>) -> Result<Combined, DaemonError> {
    let own = options.advertise.unwrap_or(options.listen);
    let mut combined = Combined::new(own)
        .with(Fixed::new(options.contacts.iter().copied()))
        .with(Seeds::new(options.seeds.clone())?);
    for method in &options.discover {
        combined = match method {
            Method::Srv(name) => combined.with(Patient::new(Srv::new(name.clone()))),
            Method::Static(list) => combined.with(Listed::new(list)),
            Method::Multicast(group) => {
                // Any cluster may be on the group.
                let cluster = trust.ok_or(DaemonError::MulticastWithoutToken)?.cluster;
                let group = group.near(options.listen.ip());
                combined.with(Multicast::of_joiner(group, cluster))
            }
        };
    }
    Ok(combined)
}

/// The cluster that a joiner means: its token's, or that of the join it has begun.
fn meant(options: &JoinOptions) -> Result<Option<Trust>, JoinError> {
    if let Some(text) = &options.token {
        let token = Token::parse(text)?;
        return Ok(Some(Trust { cluster: token.cluster, ca_hash: token.ca_hash }));
    }
    Ok(Joiner::pending(&options.data_dir)?.map(|joiner| joiner.trust()))
}

/// Whom a joiner asks: the only one it was told of, or the first that proves to be of the cluster,
/// of those it was told of and those that are found. The last failure is told: the others were of
/// the same kind.
pub(super) async fn contact(options: &JoinOptions) -> Result<SocketAddr, DaemonError> {
    let is_looking = !options.seeds.is_empty() || !options.discover.is_empty();
    if let ([only], false) = (options.contacts.as_slice(), is_looking) {
        return Ok(*only);
    }
    let trust = meant(options)?;
    let mut discovery = of_joiner(options, trust)?;
    let end = Instant::now() + LOOK_FOR;
    let (mut asked, mut failure) = (BTreeSet::new(), None);
    loop {
        let looked = tokio::task::spawn_blocking(move || (discovery.contacts(), discovery)).await;
        let (contacts, same) = looked.map_err(|error| DaemonError::Bug(error.to_string()))?;
        discovery = same;
        let fresh: Vec<_> = contacts.into_iter().filter(|at| !asked.contains(at)).collect();
        for contact in fresh.into_iter().take(ASKED_MAX - asked.len()) {
            asked.insert(contact);
            match greet(contact).await {
                Ok(seen) if trust.is_none_or(|trust| trust == seen) => return Ok(contact),
                Ok(_) => failure = Some(JoinError::WrongCluster(contact)),
                Err(error) => failure = Some(error),
            }
        }
        if !is_looking || Instant::now() >= end || asked.len() == ASKED_MAX {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    match failure {
        Some(failure) => Err(failure.into()),
        None => Err(DaemonError::NobodyFound { tried: tried(options) }),
    }
}

fn tried(options: &JoinOptions) -> String {
    let seeds = options.seeds.iter().cloned();
    let methods = options.discover.iter().map(|method| method.to_string());
    let all: Vec<String> = seeds.chain(methods).collect();
    if all.is_empty() { "it was told of no place to look".into() } else { all.join(", ") }
}
