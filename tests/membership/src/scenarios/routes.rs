//! Every route, asked by nobody in particular.

use crate::scene::{PORT, Plan, Scene, ensure};
use crate::stranger::{self, Outcome, Question, Shows};
use hyper::Method;
use serde_json::Value;

/// etcd's interface: every service and every call of it.
const PROTO: &str = include_str!("../../../../crates/muslin/proto/rpc.proto");

/// What anyone may ask: whether the node lives, and to be let in, which a token decides.
const OPEN: [&str; 3] = ["GET /livez", "GET /readyz", "POST /v1/join"];

/// gRPC's code for a caller who is nobody.
const UNAUTHENTICATED: u16 = 16;

/// The machine of another cluster.
const FOREIGN: usize = 3;

pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let mut scene = Scene::build(plan, 4)?;
    scene.nodes[FOREIGN].init()?;
    scene.found(3, 0)?;
    let document = scene.nodes[0].get("/openapi.json")?;
    let questions = questions(&document)?;
    let grpc = questions.iter().filter(|one| matches!(one, Question::Grpc(_))).count();
    println!("  {} routes of HTTP, {grpc} calls of gRPC", questions.len() - grpc);
    let (here, place) = (format!("127.0.0.1:{PORT}"), scene.nodes[0].place.clone());
    let there = scene.nodes[0].address();
    let foreign = Shows::papers_of(&scene.nodes[FOREIGN].place, &place)?;
    let remote = [
        ("another machine, plain", 1, &there, Shows::Plain),
        ("another machine, TLS without a certificate", 1, &there, Shows::nothing(&place)?),
        ("another machine, a certificate of another cluster", FOREIGN as u8, &there, foreign),
    ];
    for (who, from, to, shows) in &remote {
        judge(who, &questions, &stranger::ask(*from, to, shows, &questions)?)?;
    }
    scene.nodes[0].process.stop()?;
    scene.nodes[0].flags = ["--api-auth", "required"].map(String::from).to_vec();
    scene.nodes[0].up()?;
    let open = Question::Http(Method::GET, "/readyz".to_string());
    crate::scene::until("it is back", || {
        let shows = Shows::nothing(&place).ok()?;
        let asked = stranger::ask(0, &here, &shows, std::slice::from_ref(&open)).ok()?;
        matches!(asked[..], [Outcome::Http(200, _)]).then_some(())
    })?;
    println!("  n1 again, with --api-auth required:");
    let local = [
        ("its own machine, plain", 0, &here, Shows::Plain),
        ("its own machine, TLS without a certificate", 0, &here, Shows::nothing(&place)?),
    ];
    for (who, from, to, shows) in local.iter().chain(&remote) {
        judge(who, &questions, &stranger::ask(*from, to, shows, &questions)?)?;
    }
    let papers = Shows::papers_of(&place, &place)?;
    let asked = [Question::Http(Method::GET, "/v1/nodes".to_string())];
    let answer = stranger::ask(0, &here, &papers, &asked)?;
    println!("  with a certificate of the cluster: {answer:?}");
    ensure(matches!(answer[..], [Outcome::Http(200, _)]), "a certificate is of no use")
}

/// Every route of the description, and every call of the protocol.
fn questions(document: &Value) -> Result<Vec<Question>, String> {
    let mut questions = Vec::new();
    for (path, methods) in document["paths"].as_object().ok_or("no paths")? {
        for method in methods.as_object().ok_or("no methods")?.keys() {
            let name = method.to_uppercase();
            let method = Method::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?;
            let filled = path.replace(['{', '}'], "").replace("/key", "/some/key");
            questions.push(Question::Http(method, filled));
        }
    }
    let mut service = "";
    for line in PROTO.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("service ") {
            service = rest.split([' ', '{']).next().unwrap_or_default();
        }
        if let Some(rest) = line.strip_prefix("rpc ") {
            let call = rest.split(['(', ' ']).next().unwrap_or_default();
            questions.push(Question::Grpc(format!("/etcdserverpb.{service}/{call}")));
        }
    }
    Ok(questions)
}

/// Whoever is nobody is refused everything but what is open.
fn judge(who: &str, questions: &[Question], answers: &[Outcome]) -> Result<(), String> {
    let (mut refused, mut open) = (0, Vec::new());
    for (question, answer) in questions.iter().zip(answers) {
        let is_open = match question {
            Question::Http(method, path) => OPEN.contains(&format!("{method} {path}").as_str()),
            Question::Grpc(_) => false,
        };
        let is_refused = match answer {
            Outcome::Http(status, _) => matches!(status, 401 | 403),
            Outcome::Grpc(code) => *code == UNAUTHENTICATED,
            Outcome::Refused(_) => true,
        };
        match (is_refused, is_open) {
            (true, _) => refused += 1,
            (false, true) => open.push(format!("{question:?} {answer:?}")),
            (false, false) => return Err(format!("{who}: {question:?} was answered: {answer:?}")),
        }
    }
    let example = answers.first();
    println!("  {who}: {refused} refused, {} open; such as {example:?}", open.len());
    Ok(())
}
