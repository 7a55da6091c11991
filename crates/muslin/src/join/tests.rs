use super::*;
use crate::driver::{Driver, Handle, start};
#[cfg(feature = "client")]
use crate::identity::Principal;
use crate::identity::{Identity, SigningRequest};
use crate::store::mem::{Disk, MemStore};
use crate::transport::mem::MemNetwork;
use muslin_core::base::{ClusterId, NodeId};
use muslin_core::node::{Consistency, Options};
use muslin_core::state::{
    Approve, Command, CommandKind, Founding, Life, Member, Membership, MembershipChange, Query,
    RaiseEpoch, Remove, Response, Settings, Whom,
};
use std::net::SocketAddr;
#[cfg(feature = "client")]
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

const HOUR: Duration = Duration::from_secs(3_600);

/// How long what must happen may take: far more than it does, on the slowest machine. And how long
/// a quorum that is not there is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const NO_QUORUM: Duration = Duration::from_millis(800);

/// A cluster of one real node, with a token that admits two.
struct Cluster {
    identity: Identity,
    handle: Handle,
    founding: Founding,
    token: Token,
    _open: (mpsc::Sender<Vec<SocketAddr>>, MemNetwork),
}

fn present_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

async fn cluster_that(others: u64) -> Cluster {
    let node = NodeId(7);
    let identity = Identity::found("test", node, &[]).unwrap();
    let token = Token::generate(identity.cluster, identity.ca_fingerprint().unwrap());
    let network = MemNetwork::seeded(1);
    let (sender, incoming) = mpsc::channel(100);
    let transport = network.start((identity.cluster, node), None, sender);
    let address = transport.local_address();
    let member = |id: u64| Member {
        id,
        name: format!("n{id}"),
        address: address.to_string(),
        roles: vec!["control".into()],
        ..Member::default()
    };
    let founding = Founding {
        members: (7..=7 + others).map(member).collect(),
        tokens: vec![token.record(SystemTime::now() + HOUR, 2)],
        ..Founding::default()
    };
    let mut options = Options::new(node, identity.cluster, address);
    options.founding = founding.clone();
    options.request_timeout = if others > 0 { NO_QUORUM } else { PATIENCE };
    let (contacts_sender, contacts) = mpsc::channel(1);
    let store = Box::new(MemStore::new(Disk::new()));
    let driver = Driver { options, store, transport, incoming, contacts, seed: 1 };
    let (handle, _task) = start(driver).unwrap();
    Cluster { identity, handle, founding, token, _open: (contacts_sender, network) }
}

impl Cluster {
    fn door(&self) -> Door<'_> {
        let Cluster { handle, identity, founding, .. } = self;
        Door { handle, identity, founding, unix_ms: present_ms() }
    }

    async fn admit(&self, request: &JoinRequest) -> Result<JoinAnswer, JoinRefusal> {
        match self.door().admit(request.clone()).await? {
            JoinReply::Admitted(answer) => Ok(*answer),
            JoinReply::Held(held) => panic!("it waits: {held:?}"),
        }
    }

    async fn names(&self) -> Vec<String> {
        let status = self.handle.status().await.unwrap();
        status.members.into_iter().map(|member| member.name).collect()
    }
}

fn joiner(token: &Token, name: &str) -> Joiner {
    let wish = Wish {
        name: name.into(),
        address: format!("10.0.0.{}:7400", &name[1..]).parse().unwrap(),
        etcd_address: None,
        roles: vec!["control".into()],
        requires: Vec::new(),
        requires_for_bootstrap: Vec::new(),
        zone: String::new(),
    };
    Joiner::new(&token.expose(), wish).unwrap()
}

#[test]
fn a_token_survives_its_text_and_shows_no_secret() {
    let token = Token::generate(ClusterId(5), [3; 32]);
    let text = token.expose();
    assert_eq!(Token::parse(&format!(" {text}\n")), Ok(token.clone()));
    assert!(!format!("{token:?}").contains(&text[75..]));
    assert_ne!(Token::generate(ClusterId(5), [3; 32]), token);
}

#[test]
fn a_spoilt_token_says_what_is_wrong() {
    let text = Token::generate(ClusterId(5), [3; 32]).expose();
    let check =
        |text: &str, expected| assert_eq!(Token::parse(text).unwrap_err(), expected, "{text}");
    check("", TokenError::Prefix);
    check("hello", TokenError::Prefix);
    check(&text.replacen("MSL1", "MSL2", 1), TokenError::Version);
    check(&text[..text.len() - 1], TokenError::Length(text.len() - 1));
    check(&format!("{text}x"), TokenError::Length(text.len() + 1));
    check(&format!("{}é", &text[..text.len() - 1]), TokenError::Character);
    check(&format!("{}*", &text[..text.len() - 1]), TokenError::Character);
    for at in 5..text.len() - 1 {
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        check(&format!("{}{other}{}", &text[..at], &text[at + 1..]), TokenError::Checksum);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_gets_an_identity_once_its_admission_is_committed() {
    let cluster = cluster_that(0).await;
    let joiner = joiner(&cluster.token, "n9");
    let answer = cluster.admit(joiner.request()).await.unwrap();
    let joined = joiner.accept(answer).unwrap();
    assert_eq!(joined.founding, cluster.founding);
    assert_eq!(joined.identity.node, joiner.node());
    assert_eq!(joined.identity.keyring, cluster.identity.keyring);
    assert_eq!(joined.members.len(), 2);
    assert_eq!(cluster.names().await.len(), 2);
    // What it got is a control node's: it can admit others.
    let other = joined.identity.sibling(NodeId(3), &[]).unwrap();
    other.verify().unwrap();
    let status = cluster.handle.status().await.unwrap();
    let member = status.members.iter().find(|member| member.id == joiner.node().0).unwrap();
    assert_eq!(member.key_hash, joined.identity.key_hash().unwrap().to_vec());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_is_admitted_once() {
    let cluster = cluster_that(0).await;
    let first = joiner(&cluster.token, "n9");
    for _ in 0..3 {
        let answer = cluster.admit(first.request()).await.unwrap();
        first.accept(answer).unwrap();
    }
    assert_eq!(cluster.names().await.len(), 2);
    assert!(cluster.admit(joiner(&cluster.token, "n10").request()).await.is_ok());
    let third = cluster.admit(joiner(&cluster.token, "n11").request()).await.unwrap_err();
    assert_eq!((third.status, third.code), (403, "token-refused"), "it admits two");
}

fn wish(name: &str) -> Wish {
    Wish {
        name: name.into(),
        address: "10.0.0.10:7400".parse().unwrap(),
        etcd_address: None,
        roles: vec!["worker".into()],
        requires: Vec::new(),
        requires_for_bootstrap: Vec::new(),
        zone: "rack 7".into(),
    }
}

impl Cluster {
    fn stranger(&self, name: &str) -> Joiner {
        let ca_hash = self.identity.ca_fingerprint().unwrap();
        let trust = Trust { cluster: self.identity.cluster, ca_hash };
        Joiner::without_token(trust, wish(name)).unwrap()
    }

    async fn held(&self, joiner: &Joiner) -> JoinHeld {
        match self.door().admit(joiner.request().clone()).await.unwrap() {
            JoinReply::Held(held) => held,
            JoinReply::Admitted(answer) => panic!("it was let in: {answer:?}"),
        }
    }

    async fn decide(&self, change: MembershipChange) {
        let change = Membership::at(present_ms(), change);
        let command = Command::of(CommandKind::Membership(change.into()));
        self.handle.write(command).await.unwrap().result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_without_a_token_waits_until_somebody_decides() {
    let cluster = cluster_that(0).await;
    let (good, bad) = (cluster.stranger("n9"), cluster.stranger("n10"));
    for joiner in [&good, &bad, &good] {
        let held = cluster.held(joiner).await;
        assert!(held.waits_for.contains("approve") && held.missing_roles.is_empty());
    }
    assert_eq!(cluster.names().await, ["n7"], "nobody is a member for asking");
    cluster.decide(MembershipChange::Approve(Approve { id: good.node().0, force: false })).await;
    cluster.decide(MembershipChange::Deny(Whom { id: bad.node().0 })).await;
    let answer = cluster.admit(good.request()).await.unwrap();
    good.accept(answer).unwrap();
    let denied = cluster.admit(bad.request()).await.unwrap_err();
    assert_eq!(denied.code, "denied");
    assert_eq!(denied.to_string(), "the join was denied; ask whoever runs the cluster");
    assert_eq!(cluster.names().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_waits_for_a_role_and_goes_through_by_itself_when_one_performs_it() {
    let cluster = cluster_that(0).await;
    let needs = Wish { requires_for_bootstrap: vec!["dns".into()], ..wish("n9") };
    let waiting = Joiner::new(&cluster.token.expose(), needs).unwrap();
    let held = cluster.held(&waiting).await;
    assert_eq!(held.missing_roles, ["dns"]);
    let performs = Wish {
        roles: vec!["dns".into()],
        address: "10.0.0.11:7400".parse().unwrap(),
        ..wish("n10")
    };
    let performs = Joiner::new(&cluster.token.expose(), performs).unwrap();
    cluster.admit(performs.request()).await.unwrap();
    assert_eq!(cluster.names().await.len(), 3, "both are members");
    waiting.accept(cluster.admit(waiting.request()).await.unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_members_address_is_not_given_away() {
    let cluster = cluster_that(0).await;
    cluster.admit(joiner(&cluster.token, "n9").request()).await.unwrap();
    let address = "10.0.0.9:7400".parse().unwrap();
    let second = Joiner::new(&cluster.token.expose(), Wish { address, ..wish("n10") }).unwrap();
    let second = cluster.admit(second.request()).await.unwrap_err();
    assert_eq!((second.status, second.code), (409, "address-taken"));
}

impl Cluster {
    /// How long the log is, and what is left of the token.
    async fn written(&self) -> (u64, u64) {
        // Linearizable: what the leader writes by itself is written.
        let read = self.handle.read(Query::Record, Consistency::Linearizable).await.unwrap();
        let last = self.handle.status().await.unwrap().last_index;
        let Ok(Response::Record(record)) = read.result else { panic!("it is the record") };
        (last.0, record.tokens[0].uses_left)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_foreseen_is_refused_before_anything_is_written_or_used_up() {
    let cluster = cluster_that(0).await;
    cluster.admit(joiner(&cluster.token, "n9").request()).await.unwrap();
    let before = cluster.written().await;
    let at = |address: &str| Wish { address: address.parse().unwrap(), ..wish("n10") };
    let cases = [
        (at("10.0.0.9:7400"), "address-taken"),
        (at("[::ffff:10.0.0.9]:7400"), "address-taken"),
        (at("239.1.1.1:7400"), "bad-address"),
        (at("[::]:7400"), "bad-address"),
        (wish("n9"), "name-taken"),
        (Wish { roles: vec![String::new()], ..wish("n10") }, "bad-role"),
        (Wish { requires: vec!["a b".into()], ..wish("n10") }, "bad-role"),
        (Wish { zone: "a\nb".into(), ..wish("n10") }, "bad-request"),
    ];
    for (wish, code) in cases {
        let joiner = Joiner::new(&cluster.token.expose(), wish).unwrap();
        let refusal = cluster.admit(joiner.request()).await.unwrap_err();
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(!refusal.hint.is_empty(), "{refusal}");
    }
    assert_eq!(cluster.written().await, before);
    assert_eq!(cluster.names().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_where_it_says_is_not_admitted() {
    use tokio::io::AsyncWriteExt;
    let cluster = cluster_that(0).await;
    let before = cluster.written().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asking = |address| {
        let wish = Wish { address, ..wish("n9") };
        Joiner::new(&cluster.token.expose(), wish).unwrap().listening(true)
    };
    let is_there = asking(own);
    let name = is_there.node().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(name.as_bytes()).await.unwrap();
        }
    });
    // Nobody is there, and another joiner is.
    for elsewhere in [asking(free), asking(own)] {
        let refusal = cluster.admit(elsewhere.request()).await.unwrap_err();
        assert_eq!((refusal.status, refusal.code), (409, "address-unreachable"), "{refusal}");
        assert!(refusal.hint.contains("--advertise"), "{refusal}");
    }
    // Whoever has no good token has nobody called.
    let stranger = Token::generate(cluster.identity.cluster, [0; 32]);
    let wish = Wish { address: free, ..wish("n9") };
    let stranger = Joiner::new(&stranger.expose(), wish).unwrap().listening(true);
    assert_eq!(cluster.written().await, before);
    assert_eq!(cluster.admit(stranger.request()).await.unwrap_err().code, "token-refused");
    is_there.accept(cluster.admit(is_there.request()).await.unwrap()).unwrap();
    assert_eq!(cluster.names().await.len(), 2);
}

#[test]
fn a_join_that_was_begun_is_gone_on_with_by_the_same_node() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("n9");
    let trust = Trust { cluster: ClusterId(5), ca_hash: [3; 32] };
    let begun = Joiner::without_token(trust, wish("n9")).unwrap();
    assert_eq!(Joiner::pending(&place).unwrap(), None);
    begun.begin(&place).unwrap();
    let again = Joiner::pending(&place).unwrap().unwrap();
    assert_eq!((&again, again.code()), (&begun, begun.code()));
    assert!(again.wants(wish("n9")) && !again.wants(wish("n8")));
    let token = Token::generate(ClusterId(5), [3; 32]);
    assert!(again.clone().with_token(&token).wants(wish("n9")), "whatever its token");
    let file = place.join("identity/joining.json");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "{").unwrap();
    assert!(matches!(Joiner::pending(&place), Err(JoinError::Pending { .. })));
    Joiner::end(&place);
    assert!(!place.exists(), "nothing of it is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_gone_when_the_epoch_rose_is_admitted_anew_by_its_old_certificate() {
    let cluster = cluster_that(0).await;
    let before = Joiner::new(&cluster.token.expose(), wish("n9")).unwrap();
    cluster.admit(before.request()).await.unwrap();
    let anew = cluster.stranger("n9");
    let ask = async |who: &Joiner, shows: &Joiner| {
        let body = serde_json::to_vec(who.request()).unwrap();
        cluster.door().answer(&body, Some(shows.node())).await
    };
    // While it lives its certificate is good for nothing but itself.
    assert_eq!(ask(&anew, &before).await.unwrap_err().code, "outdated");
    let gone = Life { id: before.node().0, incarnation: 1 };
    cluster.decide(MembershipChange::Leave(gone)).await;
    let raise = RaiseEpoch { from: 1, why: 0, survivor: 0, to: 0 };
    cluster.decide(MembershipChange::RaiseEpoch(raise)).await;
    // Strangers are held no more; it is none.
    let settings = Settings { tokens_only: true, ..Settings::default() };
    cluster.decide(MembershipChange::SetSettings(settings)).await;
    let request = SigningRequest::generate(cluster.identity.cluster, before.node()).unwrap();
    let body = serde_json::to_vec(&RenewRequest { csr_pem: request.csr_pem }).unwrap();
    let refused = renew(&cluster.handle, &cluster.identity, before.node(), &body).await;
    assert_eq!(refused.unwrap_err().code, "outdated", "it gets no papers under its old id");
    let other = cluster.stranger("n10");
    let stranger = cluster.admit(other.request()).await.unwrap_err();
    assert_eq!(stranger.code, "token-refused");
    assert!(stranger.detail.contains("by token only"), "{stranger}");
    assert_eq!(ask(&other, &before).await.unwrap_err().code, "outdated", "nor another name");
    for _ in 0..2 {
        let reply = ask(&anew, &before).await.unwrap();
        let JoinReply::Admitted(answer) = serde_json::from_slice(&reply).unwrap() else {
            panic!("it waits")
        };
        let joined = anew.accept(*answer).unwrap();
        assert_eq!(joined.epoch, joined.identity.epoch().unwrap());
        assert_eq!(joined.epoch.0, 2);
    }
    assert_eq!(cluster.names().await.len(), 2, "in the place of the one that was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_gets_other_papers_and_whoever_is_none_does_not() {
    let cluster = cluster_that(0).await;
    let member = joiner(&cluster.token, "n9");
    let joined = member.accept(cluster.admit(member.request()).await.unwrap()).unwrap();
    let ask = async |node, csr_pem| {
        let body = serde_json::to_vec(&RenewRequest { csr_pem }).unwrap();
        renew(&cluster.handle, &cluster.identity, node, &body).await
    };
    let request = joined.identity.request().unwrap();
    let answer = ask(member.node(), request.csr_pem.clone()).await.unwrap();
    let renewed = joined.identity.renewed(request.key_pem, answer.papers().unwrap()).unwrap();
    assert_eq!(renewed.epoch().unwrap(), answer.epoch());
    assert_ne!(renewed.key_hash().unwrap(), joined.identity.key_hash().unwrap());
    // What one node asks for is not given to another.
    let other = ask(NodeId(7), request.csr_pem.clone()).await.unwrap_err();
    assert_eq!(other.code, "bad-request");
    let remove = Remove { id: member.node().0, force: true, unix_ms: present_ms() };
    let removed = cluster.handle.write(Command::of(CommandKind::Remove(remove))).await.unwrap();
    removed.result.unwrap();
    let refused = ask(member.node(), request.csr_pem).await.unwrap_err();
    assert_eq!((refused.status, refused.code), (403, "removed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_control_node_gets_the_key_of_the_ca() {
    let cluster = cluster_that(0).await;
    let wish = Wish {
        name: "w1".into(),
        address: "10.0.0.9:7400".parse().unwrap(),
        etcd_address: None,
        roles: vec!["worker".into()],
        requires: Vec::new(),
        requires_for_bootstrap: Vec::new(),
        zone: String::new(),
    };
    let worker = Joiner::new(&cluster.token.expose(), wish).unwrap();
    let answer = cluster.admit(worker.request()).await.unwrap();
    assert_eq!(answer.ca_key_pem, None);
    let joined = worker.accept(answer).unwrap();
    let other = joiner(&cluster.token, "n10");
    let door = Door { identity: &joined.identity, ..cluster.door() };
    let refusal = door.admit(other.request().clone()).await;
    assert_eq!(refusal.unwrap_err().code, "no-ca-key");
    assert_eq!(cluster.names().await.len(), 2, "nothing changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_is_refused_with_what_to_do_and_changes_nothing() {
    let cluster = cluster_that(0).await;
    let good = joiner(&cluster.token, "n9").request().clone();
    let stranger = Token::generate(cluster.identity.cluster, [0; 32]);
    let raw = |change: &dyn Fn(&mut JoinRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let with = |change: &dyn Fn(&mut JoinRequest)| {
        let mut request = raw(change);
        request.proof = Some(cluster.token.prove(&request.signed()));
        request
    };
    let proved = |change: &dyn Fn(&mut Proof)| raw(&|one| change(one.proof.as_mut().unwrap()));
    let other_csr = joiner(&cluster.token, "n9").request().csr_pem.clone();
    let cases = [
        (with(&|request| request.node = "9".into()), 400, "bad-request"),
        (with(&|request| request.node = "0000000000000000".into()), 400, "bad-request"),
        (with(&|request| request.name = "a b".into()), 400, "bad-name"),
        (with(&|request| request.name = "n7".into()), 409, "name-taken"),
        (with(&|request| request.address = "0.0.0.0:7400".into()), 400, "bad-address"),
        (with(&|request| request.etcd_address = "x".into()), 400, "bad-address"),
        (with(&|request| request.roles = vec!["a".into(); 17]), 400, "bad-role"),
        (with(&|request| request.csr_pem = "x".into()), 400, "bad-certificate-request"),
        (with(&|request| request.csr_pem = other_csr.clone()), 400, "bad-request"),
        (proved(&|proof| proof.signature = "x".into()), 403, "token-refused"),
        (proved(&|proof| proof.token_id = stranger.id.clone()), 403, "token-refused"),
        (raw(&|one| one.proof = Some(stranger.prove(&one.signed()))), 403, "token-refused"),
        // A proof is good for the request it was made for.
        (raw(&|request| request.roles = vec!["worker".into()]), 403, "token-refused"),
    ];
    for (request, status, code) in cases {
        let refusal = cluster.admit(&request).await.unwrap_err();
        assert_eq!((refusal.status, refusal.code), (status, code), "{refusal}");
        assert!(!refusal.hint.is_empty(), "{refusal}");
    }
    let late = present_ms() + 2 * HOUR.as_millis() as u64;
    let late = Door { unix_ms: late, ..cluster.door() }.admit(good.clone()).await;
    assert_eq!(late.unwrap_err().code, "token-refused");
    let garbage = cluster.door().answer(b"{", None).await;
    assert_eq!(garbage.unwrap_err().code, "bad-request");
    assert_eq!(cluster.names().await, ["n7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nobody_is_admitted_and_the_joiner_reads_why() {
    let cluster = cluster_that(2).await;
    let refusal = cluster.admit(joiner(&cluster.token, "n10").request()).await.unwrap_err();
    assert_eq!((refusal.status, refusal.code, refusal.retryable), (503, "no-quorum", true));
    assert_eq!(cluster.names().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_fit_is_not_accepted() {
    let cluster = cluster_that(0).await;
    let joiner = joiner(&cluster.token, "n9");
    let good = cluster.admit(joiner.request()).await.unwrap();
    let other = Identity::found("other", NodeId(7), &[]).unwrap();
    let check = |change: &dyn Fn(&mut JoinAnswer), expected: &str| {
        let mut answer = good.clone();
        change(&mut answer);
        let said = joiner.accept(answer).unwrap_err();
        assert!(said.contains(expected), "{said}");
    };
    check(&|answer| answer.cluster = other.cluster.to_string(), "another cluster");
    check(&|answer| answer.ca_pem = other.ca_pem.clone(), "not the token's");
    let pem = &cluster.identity.own.certificate_pem;
    check(&|answer| answer.certificate_pem = pem.clone(), "not the certificate of");
    let key = other.ca_key.as_ref().unwrap().expose();
    check(&|answer| answer.ca_key_pem = Some(key.into()), "not the key of the CA");
    check(&|answer| answer.founding = "*".into(), "founding");
    check(&|answer| answer.gossip_keys = "[]".into(), "keyring");
    let shown = format!("{good:?} {:?} {joiner:?}", joiner.request());
    assert!(
        !shown.contains("PRIVATE") && !shown.contains(&cluster.token.expose()[75..]),
        "{shown}"
    );
}

#[cfg(feature = "client")]
mod over_the_network {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use hyper::body::{Bytes, Incoming};
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// Serves `POST /v1/join` as the daemon does.
    async fn serve(cluster: Arc<Cluster>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(cluster.identity.server_tls().unwrap());
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = service_fn(|request: Request<Incoming>| {
                    let cluster = cluster.clone();
                    async move {
                        assert_eq!(request.uri().path(), "/v1/join");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let answered = cluster.door().answer(&body, None).await;
                        let (status, body) = match answered {
                            Ok(body) => (200, body),
                            Err(refusal) => (refusal.status, serde_json::to_vec(&refusal).unwrap()),
                        };
                        let body = Full::new(Bytes::from(body));
                        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
                    }
                });
                let served = hyper::server::conn::http1::Builder::new();
                let _ = served.serve_connection(TokioIo::new(stream), service).await;
            }
        });
        address
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_joins_over_tls_and_a_refusal_reaches_its_person() {
        let cluster = Arc::new(cluster_that(0).await);
        let address = serve(cluster.clone()).await;
        let joined = joiner(&cluster.token, "n9").join(address).await.unwrap();
        assert_eq!(joined.identity.cluster, cluster.identity.cluster);
        let refusal = joiner(&cluster.token, "n9").join(address).await.unwrap_err();
        let said = refusal.to_string();
        assert!(said.contains("the name n9 is taken") && said.contains("muslin node ls"), "{said}");
        assert!(matches!(refusal, JoinError::Refused { status: 409, retryable: false, .. }));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_secret_is_not_sent_to_another_cluster() {
        let ours = cluster_that(0).await;
        let theirs = Arc::new(cluster_that(0).await);
        let address = serve(theirs).await;
        let refusal = joiner(&ours.token, "n9").join(address).await.unwrap_err();
        assert!(matches!(refusal, JoinError::WrongCluster(_)), "{refusal}");
        // Nor to a node that shows the right CA beside a certificate of another.
        let own = Identity::found("other", NodeId(7), &[]).unwrap().own;
        let posing = Identity { own, ..ours.identity.clone() };
        assert!(Principal::of(&crate_certificate(&posing)).is_ok());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = posing.server_tls().unwrap();
            let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { return 0 };
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
            heard.len()
        });
        let refusal = joiner(&ours.token, "n9").join(address).await.unwrap_err();
        assert!(matches!(refusal, JoinError::WrongCluster(_)), "{refusal}");
        assert_eq!(heard.await.unwrap(), 0, "nothing was said to it");
    }

    fn crate_certificate(identity: &Identity) -> rustls::pki_types::CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_slice(identity.own.certificate_pem.as_bytes())
            .unwrap()
    }

    #[tokio::test]
    async fn an_address_where_nobody_answers_is_named() {
        let cluster = cluster_that(0).await;
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let said = joiner(&cluster.token, "n9").join(free).await.unwrap_err().to_string();
        assert!(said.contains(&free.to_string()) && said.contains("check the address"), "{said}");
    }
}
