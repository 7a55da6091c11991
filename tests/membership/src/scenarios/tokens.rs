//! Tokens that let nobody in.

use crate::scene::{Plan, Said, Scene, ensure, files, ms};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muslin::join::Token;
use ring::digest::{SHA256, digest};
use std::time::{Duration, Instant};

const CONTROL: usize = 3;

/// The machine that wants in, and the one whose cluster is another.
const JOINER: usize = 3;
const FOREIGN: usize = 4;

const PREFIX: &str = "MSL1-";

/// A token ends with a checksum of so many bytes, before which its secret stands.
const CHECK_BYTES: usize = 4;

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
        ("wrong secret", with_other_secret(good)?),
        ("unknown", unknown),
        ("expired", expired),
        ("used", used),
        ("revoked", revoked),
        ("foreign", foreign.to_string()),
        ("mistyped", good.replace(&good[20..24], "AAAA")),
        ("no token", "MSL1-".to_string()),
    ])
}

/// The same token, but for its secret.
fn with_other_secret(token: &str) -> Result<String, String> {
    let encoded = token.strip_prefix(PREFIX).ok_or("it is no token")?;
    let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|e| e.to_string())?;
    bytes.truncate(bytes.len() - CHECK_BYTES);
    let last = bytes.last_mut().ok_or("it is empty")?;
    *last ^= 1;
    let check = digest(&SHA256, &bytes);
    bytes.extend_from_slice(&check.as_ref()[..CHECK_BYTES]);
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}
