use super::*;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn founder() -> Identity {
    Identity::found("test", NodeId(7), &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))]).unwrap()
}

fn subject(node: u64) -> NodeSubject<'static> {
    NodeSubject { node: NodeId(node), epoch: FIRST_EPOCH, addresses: &[] }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Carries the bytes of a handshake between two in-memory ends until both are done.
fn handshake(
    server: ServerConfig,
    client: ClientConfig,
    name: &str,
) -> Result<ServerConnection, String> {
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().map_err(|error| format!("client: {error}"))?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "the handshake never ended");
    Ok(server)
}

fn peers(server: &Identity, client: &Identity, named: NodeId) -> Result<Principal, String> {
    let name = node_dns_name(server.cluster, named);
    let (server, client) = (server.peer_server_tls().unwrap(), client.peer_client_tls().unwrap());
    let server = handshake(server, client, &name)?;
    Ok(Principal::of(&server.peer_certificates().unwrap()[0]).unwrap())
}

#[test]
fn a_peer_proves_which_node_it_is() {
    let one = founder();
    let two = one.sibling(NodeId(9), &[]).unwrap();
    let found = peers(&one, &two, NodeId(7)).unwrap();
    assert_eq!(found, Principal::Node { cluster: one.cluster, node: NodeId(9) });
    assert_eq!(found.cluster(), one.cluster);
}

#[test]
fn another_node_of_the_cluster_cannot_stand_in_for_the_one_that_is_dialled() {
    let one = founder();
    let two = one.sibling(NodeId(9), &[]).unwrap();
    let refusal = peers(&one, &two, NodeId(8)).unwrap_err();
    assert!(refusal.contains("not valid for name"), "{refusal}");
}

#[test]
fn a_node_of_another_cluster_is_refused_by_both_sides() {
    let (ours, theirs) = (founder(), founder());
    assert!(peers(&ours, &theirs, NodeId(7)).unwrap_err().contains("invalid peer certificate"));
    let trusting = Identity { ca_pem: ours.ca_pem.clone(), ..theirs.clone() };
    let dialler = trusting.peer_client_tls().unwrap();
    let name = node_dns_name(ours.cluster, NodeId(7));
    let refusal = handshake(ours.peer_server_tls().unwrap(), dialler, &name).unwrap_err();
    assert!(refusal.contains("server: invalid peer certificate"), "{refusal}");
}

#[test]
fn the_api_accepts_an_administrator_and_also_nobody() {
    let one = founder();
    let server = || ServerConfig::clone(&one.server_tls().unwrap());
    let admin = ClientConfig::clone(&one.client_tls().unwrap());
    for name in ["localhost", "127.0.0.1", "10.0.0.7"] {
        let ended = handshake(server(), admin.clone(), name).unwrap();
        let shown = Principal::of(&ended.peer_certificates().unwrap()[0]).unwrap();
        assert_eq!(shown, Principal::Admin { cluster: one.cluster, name: "admin".into() });
        assert_eq!(ended.alpn_protocol(), Some(b"h2".as_slice()));
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&one.ca_pem)).unwrap();
    let nobody = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert!(handshake(server(), nobody, "localhost").unwrap().peer_certificates().is_none());
}

#[test]
fn an_administrators_certificate_serves_nobody() {
    let one = founder();
    let posing = Identity { own: one.admin.clone().unwrap(), ..one.clone() };
    let name = format!("admin.admin.{}.muslin", one.cluster);
    let (server, client) = (posing.peer_server_tls().unwrap(), one.peer_client_tls().unwrap());
    assert!(handshake(server, client, &name).is_err());
}

#[test]
fn a_request_decides_nothing_but_the_key() {
    let one = founder();
    let request = SigningRequest::generate(one.cluster, NodeId(9)).unwrap();
    let signed = SignedRequest::parse(&request.csr_pem).unwrap();
    assert!(signed.is_for(one.cluster, NodeId(9)));
    assert!(!signed.is_for(one.cluster, NodeId(8)) && !signed.is_for(ClusterId(1), NodeId(9)));
    let pem = one.authority().unwrap().sign_node(subject(9), &signed).unwrap();
    let two = Identity {
        node: NodeId(9),
        ca_key: None,
        admin: None,
        own: KeyedCertificate { certificate_pem: pem, key_pem: request.key_pem },
        ..one.clone()
    };
    assert_eq!(
        peers(&one, &two, NodeId(7)),
        Ok(Principal::Node { cluster: one.cluster, node: NodeId(9) })
    );
    assert_eq!(two.key_hash().unwrap(), signed.key_hash());
    assert!(matches!(two.sibling(NodeId(10), &[]), Err(IdentityError::NoCaKey)));

    let mut greedy =
        rcgen::CertificateParams::new(vec!["0000000000000007.node.x".to_string()]).unwrap();
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let signed = SignedRequest::parse(&csr).unwrap();
    let pem = one.authority().unwrap().sign_node(subject(9), &signed).unwrap();
    let certificate = der(&pem);
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    assert!(!parsed.is_ca());
    assert_eq!(
        Principal::of(&certificate),
        Ok(Principal::Node { cluster: one.cluster, node: NodeId(9) })
    );
}

#[test]
fn a_certificate_is_bound_to_the_epoch_it_was_given_in() {
    let one = founder();
    assert_eq!(one.epoch().unwrap(), FIRST_EPOCH);
    let request = one.request().unwrap();
    let signed = SignedRequest::parse(&request.csr_pem).unwrap();
    let later = NodeSubject { epoch: Epoch(12), ..subject(7) };
    let papers = one.issue(("n7", &[]), later, &signed).unwrap();
    let renewed = one.renewed(request.key_pem, papers).unwrap();
    assert_eq!(renewed.epoch().unwrap(), Epoch(12));
    assert_ne!(renewed.key_hash().unwrap(), one.key_hash().unwrap(), "the key is a fresh one");
    let ticket = renewed.ticket_key().unwrap().open(&renewed.ticket).unwrap();
    assert_eq!((ticket.node, ticket.epoch), (NodeId(7), Epoch(12)));
    assert_eq!(ticket.key_hash, renewed.key_hash().unwrap());
    assert!(!renewed.is_aging(std::time::SystemTime::now()).unwrap());
    assert!(renewed.is_aging(std::time::SystemTime::now() + NODE_VALIDITY * 3 / 4).unwrap());
    // As it looks once the clock is right that was wrong when it was made.
    let before = std::time::SystemTime::now() - NODE_VALIDITY;
    assert!(renewed.is_aging(before).unwrap(), "it has not begun");
    // What names no epoch of this cluster has outlived every one.
    assert_eq!(epoch_of(ClusterId(1), &der(&one.own.certificate_pem)), Epoch(0));
    assert_eq!(epoch_of(one.cluster, &der(&one.ca_pem)), Epoch(0));
}

#[test]
fn papers_of_another_node_are_not_taken_up() {
    let one = founder();
    let request = SigningRequest::generate(one.cluster, NodeId(8)).unwrap();
    let signed = SignedRequest::parse(&request.csr_pem).unwrap();
    let papers = one.issue(("n8", &[]), subject(8), &signed).unwrap();
    let refusal = one.renewed(request.key_pem, papers).unwrap_err().to_string();
    assert!(refusal.contains("not the certificate of"), "{refusal}");
}

#[test]
fn a_tampered_request_is_refused() {
    let request = SigningRequest::generate(ClusterId(1), NodeId(9)).unwrap();
    let tampered = request.csr_pem.replacen('A', "B", 1);
    for csr in [tampered.as_str(), "", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"] {
        let refusal = SignedRequest::parse(csr).unwrap_err().to_string();
        assert!(refusal.contains("certificate request is not valid"), "{refusal}");
    }
}

#[test]
fn what_is_saved_is_loaded_and_keys_are_private() {
    let directory = tempfile::tempdir().unwrap();
    assert!(!Identity::exists(directory.path()));
    let one = founder();
    one.save(directory.path()).unwrap();
    one.save(directory.path()).unwrap();
    assert!(Identity::exists(directory.path()));
    let loaded = Identity::load(directory.path()).unwrap();
    assert!(loaded == one);
    assert!(loaded.expires().unwrap() > std::time::SystemTime::now());
    let mode = |name: &str| {
        let path = directory.path().join("identity").join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for name in ["ca-key.pem", "node-key.pem", "admin-key.pem", "gossip-keys.json"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!(mode(""), 0o700);
}

fn load_after(spoil: impl Fn(&Path)) -> String {
    let directory = tempfile::tempdir().unwrap();
    founder().save(directory.path()).unwrap();
    spoil(&directory.path().join("identity"));
    Identity::load(directory.path()).map(drop).unwrap_err().to_string()
}

#[test]
fn a_spoilt_identity_says_what_is_wrong_and_what_to_do() {
    let other = founder();
    type Spoil<'a> = &'a dyn Fn(&Path);
    let cases: [(Spoil, &str); 8] = [
        (&|dir| fs::remove_file(dir.join("identity.json")).unwrap(), "muslin init"),
        (&|dir| fs::remove_file(dir.join("node.pem")).unwrap(), "it is missing"),
        (&|dir| fs::write(dir.join("identity.json"), "{").unwrap(), "cannot be used"),
        (&|dir| fs::write(dir.join("gossip-keys.json"), "[]").unwrap(), "1 to 4 keys"),
        (
            &|dir| fs::write(dir.join("node.pem"), &other.own.certificate_pem).unwrap(),
            "not the certificate of",
        ),
        (
            &|dir| fs::write(dir.join("node-key.pem"), other.own.key_pem.expose()).unwrap(),
            "KeyMismatch",
        ),
        (
            &|dir| fs::write(dir.join("ca-key.pem"), other.own.key_pem.expose()).unwrap(),
            "not the key of the CA",
        ),
        (&|dir| fs::write(dir.join("ca.pem"), vec![b'x'; 100_000]).unwrap(), "100000 bytes"),
    ];
    for (spoil, expected) in cases {
        let said = load_after(spoil);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let one = founder();
    let shown = format!("{one:?} {:?}", one.authority().unwrap());
    let key = one.own.key_pem.expose().lines().nth(1).unwrap();
    let gossip = format!("{:?}", one.keyring.sealing().secret);
    assert!(
        !shown.contains(key) && !shown.contains(&gossip) && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[test]
fn a_keyring_survives_json_and_refuses_doubles() {
    let key = |id| GossipKey { id, secret: [id; 32] };
    let ring = Keyring::of(vec![key(2), key(1)]).unwrap();
    assert_eq!(Keyring::from_json(&ring.to_json()), Ok(ring.clone()));
    assert_eq!(ring.sealing().id, 2);
    assert_eq!(ring.key(1), Some(&key(1)));
    assert_eq!(ring.key(3), None);
    assert_eq!(Keyring::of(vec![key(2), key(2)]), Err(KeyringError::Count(2)));
    assert!(Keyring::from_json(r#"[{"id":1,"key":"AAAA"}]"#).is_err());
}

#[test]
fn the_records_primary_key_seals_and_its_others_open() {
    let key = |generation: u64, is_primary| muslin_core::state::GossipKey {
        generation,
        key: vec![generation as u8; 32].into(),
        is_primary,
        ..Default::default()
    };
    let ring = Keyring::of_record(&[key(256, false), key(257, true), key(258, false)]).unwrap();
    assert_eq!(ring.sealing(), &GossipKey { id: 1, secret: [1; 32] });
    assert!(ring.key(0).is_some() && ring.key(2).is_some());
    assert_eq!(Keyring::of_record(&[]), None);
    let short = muslin_core::state::GossipKey { key: vec![1; 31].into(), ..key(1, true) };
    assert_eq!(Keyring::of_record(&[short]), None);
}

#[test]
fn names_are_read_exactly() {
    let cluster = ClusterId(5);
    let ca = ClusterCa::create(cluster, "test").unwrap();
    for name in ["", "a.b", "Ops", "é", &"a".repeat(64)] {
        assert!(ca.issue_admin(name).is_err(), "{name}");
    }
    assert_eq!(Principal::of(&der(ca.certificate_pem())), Err(NameError::Nobody));
    assert_eq!(Principal::of(&CertificateDer::from(vec![1, 2, 3])), Err(NameError::Unreadable));
}
