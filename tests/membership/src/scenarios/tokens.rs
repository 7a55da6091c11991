//! Tokens that let nobody in.

use crate::ask::on;
use crate::scene::{Plan, Said, Scene, ensure, files, ms};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muslin::join::{JoinError, Joiner, Token, Wish};
use ring::digest::{SHA256, digest};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const CONTROL: usize = 3;

/// The machine that wants in, and the one whose cluster is another.
const JOINER: usize = 3;
const FOREIGN: usize = 4;

const PREFIX: &str = "MSL1-";

/// A token ends with a checksum of so many bytes, before which its secret stands.
const CHECK_BYTES: usize = 4;

/// So long is the secret.
const SECRET_BYTES: usize = 32;

/// Times that each token is shown to see how long its refusal takes.
const TRIES: usize = 100;

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, CONTROL as u8 + 2)?;
    let token = scene.found(CONTROL, 0)?;
    let foreign = scene.nodes[FOREIGN].init()?;
    let bad = bad_tokens(&mut scene, &token, &foreign)?;
    let before = scene.nodes[0].record()?;
    let mut said = Vec::new();
    for (what, token) in &bad {
        let began = Instant::now();
        // The answer and the way to it are the same through each node.
        let through = scene.nodes[said.len() % CONTROL].address();
        let answer = scene.nodes[JOINER].join(&through, &["--token", token])?;
        println!(
            "  {what}: exit {:?} after {} ms: {}",
            answer.code,
            ms(began.elapsed()),
            answer.words()
        );
        ensure(!matches!(answer.code, None | Some(0)), format!("{what}: let in"))?;
        let left = files(&scene.nodes[JOINER].place);
        ensure(left.is_empty(), format!("{what}: left {left:?}"))?;
        said.push((*what, answer));
    }
    let of_record = ["wrong secret", "unknown", "expired", "used", "revoked"];
    let sentences: Vec<&str> = said
        .iter()
        .filter(|(what, _)| of_record.contains(what))
        .map(|(_, said)| first(said))
        .collect();
    let is_one = sentences.iter().all(|sentence| *sentence == sentences[0]);
    ensure(is_one, format!("they are told apart: {sentences:?}"))?;
    println!("  one sentence for {}", of_record.join(", "));
    let mut timed = vec![("wrong in its first byte", with_other_secret(&token, 0)?)];
    timed.extend(bad.iter().filter(|(what, _)| of_record.contains(what)).cloned());
    times(&scene, &timed)?;
    let after = scene.nodes[0].record()?;
    ensure(before == after, format!("the record changed:\n{before}\n{after}"))?;
    println!("  the record is as before: members, epoch, tokens and their uses, joins");
    let answer = scene.nodes[JOINER].join(&scene.nodes[1].address(), &["--token", &token])?;
    answer.ok().map(drop)
}

fn first(said: &Said) -> &str {
    said.stderr.lines().next().unwrap_or_default()
}

/// Tokens with what is wrong with them.
fn bad_tokens(
    scene: &mut Scene,
    good: &str,
    foreign: &str,
) -> Result<Vec<(&'static str, String)>, String> {
    let parsed = Token::parse(good).map_err(|e| e.to_string())?;
    let create = |more: &[&str]| -> Result<String, String> {
        let made = scene.nodes[0].run_json(&[&["token", "create"], more].concat())?;
        Ok(made["token"].as_str().ok_or("no token")?.to_string())
    };
    let expired = create(&["--name", "short", "--expires", "1"])?;
    let revoked = create(&["--name", "revoked"])?;
    scene.nodes[0].run(&["token", "revoke", "revoked"])?.ok()?;
    let used = create(&["--name", "once", "--uses", "1"])?;
    let joiner = &scene.nodes[JOINER];
    joiner.join(&scene.nodes[0].address(), &["--token", &used])?.ok()?;
    // It goes again: its place is wanted.
    let name = joiner.name();
    std::fs::remove_dir_all(&joiner.place).map_err(|e| format!("cannot remove: {e}"))?;
    scene.nodes[0].run(&["node", "rm", &name, "--force", "--yes"])?.ok()?;
    std::thread::sleep(Duration::from_secs(2));
    let unknown = Token::generate(parsed.cluster, parsed.ca_hash).expose();
    Ok(vec![
        ("wrong secret", with_other_secret(good, SECRET_BYTES - 1)?),
        ("unknown", unknown),
        ("expired", expired),
        ("used", used),
        ("revoked", revoked),
        ("foreign", foreign.to_string()),
        ("mistyped", good.replace(&good[20..24], "AAAA")),
        ("no token", "MSL1-".to_string()),
    ])
}

/// The same token, but for one byte of its secret.
fn with_other_secret(token: &str, at: usize) -> Result<String, String> {
    let encoded = token.strip_prefix(PREFIX).ok_or("it is no token")?;
    let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|e| e.to_string())?;
    bytes.truncate(bytes.len() - CHECK_BYTES);
    let secret = bytes.len().checked_sub(SECRET_BYTES).ok_or("it is too short")?;
    bytes[secret + at] ^= 1;
    let check = digest(&SHA256, &bytes);
    bytes.extend_from_slice(&check.as_ref()[..CHECK_BYTES]);
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// How long refusals take, in turn, through the leader. For people to compare: a machine that does
/// other things at the same time would make a limit a coincidence.
fn times(scene: &Scene, tokens: &[(&str, String)]) -> Result<(), String> {
    let leader = scene.nodes[scene.leader()?].address();
    let parse = |text: &str| text.parse().map_err(|e| format!("{text}: {e}"));
    let ends: [SocketAddr; 2] = [parse(&scene.nodes[JOINER].address())?, parse(&leader)?];
    let mut taken = vec![Vec::new(); tokens.len()];
    for _ in 0..TRIES {
        for (times, (what, token)) in taken.iter_mut().zip(tokens) {
            times.push(time_of(ends, token).map_err(|why| format!("{what}: {why}"))?);
        }
    }
    println!("  refused by the leader after (median, and nine of ten, of {TRIES}):");
    for (mut times, (what, _)) in taken.into_iter().zip(tokens) {
        times.sort();
        let micros = |at: usize| times[at].as_micros();
        println!("    {what:<24} {} us, {} us", micros(TRIES / 2), micros(TRIES * 9 / 10));
    }
    Ok(())
}

/// From the first packet to the refusal.
fn time_of([own, member]: [SocketAddr; 2], token: &str) -> Result<Duration, String> {
    let wish = Wish {
        name: "stranger".to_string(),
        address: own,
        etcd_address: None,
        roles: vec!["worker".to_string()],
        requires: Vec::new(),
        requires_for_bootstrap: Vec::new(),
        zone: String::new(),
    };
    let joiner = Joiner::new(token, wish).map_err(|e| e.to_string())?;
    on(JOINER as u8, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
        let began = Instant::now();
        match runtime.block_on(joiner.ask(member)) {
            Err(JoinError::Refused { .. }) => Ok(began.elapsed()),
            other => Err(format!("not refused: {other:?}")),
        }
    })?
}
