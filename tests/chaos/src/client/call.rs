//! One node's etcd interface, in the words of the history.

use super::Recorder;
use crate::history::{Action, Consistency, Family, Fence, Item, Key, Outcome, Value};
use muslin::api::proto::etcdserverpb as pb;
use muslin::api::proto::mvccpb;
use pb::kv_client::KvClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A call without an answer after this time is given up; a node gives up before that.
pub(super) const CALL_WAIT: Duration = Duration::from_secs(6);

/// Largest answer that is taken: all keys at once, with the largest values, are more than the
/// usual 4 MiB.
const LARGEST_ANSWER: usize = 64 << 20;

/// Longest wait for a connection, which is on one machine.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Where every node serves its machine.
pub(super) const ETCD_PORT: u16 = 2379;

/// What the names of keys begin with that the cluster makes: of locks, and hidden ones.
const FOREIGN: [&[u8]; 2] = [b"lock/", b"\0m/"];

/// A connection that is made anew whenever it breaks.
pub(super) fn connect() -> Channel {
    let address = format!("http://127.0.0.1:{ETCD_PORT}");
    let endpoint = Endpoint::from_shared(address).expect("it is an address");
    endpoint.connect_timeout(CONNECT_WAIT).tcp_nodelay(true).connect_lazy()
}

/// Makes calls.
#[derive(Clone)]
pub(super) struct Caller {
    kv: KvClient<Channel>,
    recorder: Arc<Recorder>,
}

impl Caller {
    pub(super) fn new(channel: Channel, recorder: Arc<Recorder>) -> Caller {
        let kv = KvClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
        Caller { kv, recorder }
    }

    /// Does something and writes it down.
    pub(super) async fn perform(&mut self, node: u8, action: Action) -> Outcome {
        self.perform_with(node, action, 0).await
    }

    /// As [`Caller::perform`]; what is put hangs on a lease.
    pub(super) async fn perform_with(&mut self, node: u8, action: Action, lease: i64) -> Outcome {
        let begun = self.recorder.begin(node);
        let answer = timeout(CALL_WAIT, self.ask(&action, lease)).await;
        let outcome = match answer {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(status)) if is_refusal(&status) => Outcome::Refused,
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        };
        self.recorder.finish(begun, action, outcome.clone());
        outcome
    }

    async fn ask(&mut self, action: &Action, lease: i64) -> Result<Outcome, Status> {
        match action {
            Action::Put(write) => self.put(*write, lease).await,
            Action::Delete(key) => self.delete(*key).await,
            Action::Get(key, consistency) => self.range(one(*key, *consistency)).await,
            Action::List(family, consistency) => self.range(all(*family, *consistency)).await,
            Action::Swap(write, expected) => self.swap(*write, *expected).await,
            Action::Multi(writes) => self.multi(writes).await,
            Action::Guarded(..) => Err(Status::internal("a guard is named by its key's name")),
        }
    }

    async fn put(&mut self, write: (Key, Value), lease: i64) -> Result<Outcome, Status> {
        let request = pb::PutRequest { lease, ..put(write) };
        let answer = self.kv.put(request).await?.into_inner();
        Ok(Outcome::Written(revision(answer.header)?))
    }

    async fn delete(&mut self, key: Key) -> Result<Outcome, Status> {
        let request =
            pb::DeleteRangeRequest { key: name(key), ..pb::DeleteRangeRequest::default() };
        let answer = self.kv.delete_range(request).await?.into_inner();
        Ok(Outcome::Deleted(revision(answer.header)?, answer.deleted > 0))
    }

    async fn range(&mut self, request: pb::RangeRequest) -> Result<Outcome, Status> {
        let answer = self.kv.range(request).await?.into_inner();
        let items = self.items(&answer.kvs);
        Ok(Outcome::Read(revision(answer.header)?, items))
    }

    async fn swap(&mut self, write: (Key, Value), expected: u64) -> Result<Outcome, Status> {
        use pb::request_op::Request;
        let compare = pb::Compare {
            result: pb::compare::CompareResult::Equal as i32,
            target: pb::compare::CompareTarget::Mod as i32,
            key: name(write.0),
            target_union: Some(pb::compare::TargetUnion::ModRevision(expected as i64)),
            ..pb::Compare::default()
        };
        let look = one(write.0, Consistency::Linearizable);
        let request = pb::TxnRequest {
            compare: vec![compare],
            success: vec![pb::RequestOp { request: Some(Request::RequestPut(put(write))) }],
            failure: vec![pb::RequestOp { request: Some(Request::RequestRange(look)) }],
        };
        let answer = self.kv.txn(request).await?.into_inner();
        let at = revision(answer.header)?;
        if answer.succeeded {
            return Ok(Outcome::Written(at));
        }
        let looked = answer.responses.into_iter().find_map(|response| match response.response {
            Some(pb::response_op::Response::ResponseRange(range)) => Some(range.kvs),
            _ => None,
        });
        let looked = looked.ok_or_else(|| Status::internal("no answer to a part"))?;
        Ok(Outcome::Read(at, self.items(&looked)))
    }

    async fn multi(&mut self, writes: &[(Key, Value)]) -> Result<Outcome, Status> {
        let ops = writes.iter().map(|write| pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put(*write))),
        });
        let request = pb::TxnRequest { success: ops.collect(), ..pb::TxnRequest::default() };
        let answer = self.kv.txn(request).await?.into_inner();
        Ok(Outcome::Written(revision(answer.header)?))
    }

    /// Writes while a place in a lock's queue is there, and writes that down.
    pub(super) async fn guarded(
        &mut self,
        node: u8,
        (write, fence): ((Key, Value), Fence),
        place: &[u8],
    ) -> Outcome {
        use pb::request_op::Request;
        let compare = pb::Compare {
            result: pb::compare::CompareResult::Equal as i32,
            target: pb::compare::CompareTarget::Create as i32,
            key: place.to_vec().into(),
            target_union: Some(pb::compare::TargetUnion::CreateRevision(fence.revision as i64)),
            ..pb::Compare::default()
        };
        let request = pb::TxnRequest {
            compare: vec![compare],
            success: vec![pb::RequestOp { request: Some(Request::RequestPut(put(write))) }],
            ..pb::TxnRequest::default()
        };
        let begun = self.recorder.begin(node);
        let outcome = match timeout(CALL_WAIT, self.kv.txn(request)).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                match (revision(answer.header), answer.succeeded) {
                    (Ok(at), true) => Outcome::Written(at),
                    (Ok(at), false) => Outcome::Fenced(at),
                    (Err(_), _) => Outcome::Unknown,
                }
            }
            Ok(Err(status)) if is_refusal(&status) => Outcome::Refused,
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        };
        self.recorder.finish(begun, Action::Guarded(write, fence), outcome.clone());
        outcome
    }

    /// What made a key; `None` when it is not there, or nobody says.
    pub(super) async fn made_by(&mut self, key: &[u8]) -> Option<u64> {
        let request = pb::RangeRequest { key: key.to_vec().into(), ..pb::RangeRequest::default() };
        let answer = timeout(CALL_WAIT, self.kv.range(request)).await.ok()?.ok()?.into_inner();
        Some(answer.kvs.first()?.create_revision as u64)
    }

    /// Compacts all history below a revision away; whether it worked does not matter.
    pub(super) async fn compact(&mut self, revision: u64) {
        let request = pb::CompactionRequest { revision: revision as i64, physical: false };
        let _ = timeout(CALL_WAIT, self.kv.compact(request)).await;
    }

    fn items(&self, kvs: &[mvccpb::KeyValue]) -> Box<[Item]> {
        kvs.iter().filter_map(|kv| item(kv, &self.recorder)).collect()
    }

    /// All that the node has.
    pub(super) async fn everything(&mut self) -> Result<(u64, Vec<Item>), Status> {
        let request = pb::RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let answer = self.kv.range(request).await?.into_inner();
        Ok((revision(answer.header)?, self.items(&answer.kvs).into_vec()))
    }
}

/// A pair as read, unless it is nonsense, which is written down.
fn item(kv: &mvccpb::KeyValue, recorder: &Recorder) -> Option<Item> {
    let key = key_of(&kv.key, recorder)?;
    let value = value_of(key, &kv.value, recorder)?;
    Some(Item {
        key,
        value,
        create_revision: kv.create_revision as u64,
        mod_revision: kv.mod_revision as u64,
        version: kv.version as u64,
    })
}

pub(super) fn key_of(name: &[u8], recorder: &Recorder) -> Option<Key> {
    if FOREIGN.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(recorder.foreign(name));
    }
    let key = Key::named(name);
    if key.is_none() {
        recorder.add_nonsense(format!("a key of nobody: {:?}", String::from_utf8_lossy(name)));
    }
    key
}

pub(super) fn value_of(key: Key, bytes: &[u8], recorder: &Recorder) -> Option<Value> {
    if key.family == Family::Foreign {
        return Some(Value::foreign(bytes));
    }
    let value = Value::parse(bytes);
    if value.is_none() {
        recorder.add_nonsense(format!("a torn value: {:?}", String::from_utf8_lossy(bytes)));
    }
    value
}

fn revision(header: Option<pb::ResponseHeader>) -> Result<u64, Status> {
    let header = header.ok_or_else(|| Status::internal("an answer without a header"))?;
    Ok(header.revision as u64)
}

fn name(key: Key) -> tonic::codegen::Bytes {
    key.to_string().into()
}

fn put((key, value): (Key, Value)) -> pb::PutRequest {
    pb::PutRequest { key: name(key), value: value.bytes().into(), ..pb::PutRequest::default() }
}

fn one(key: Key, consistency: Consistency) -> pb::RangeRequest {
    pb::RangeRequest {
        key: name(key),
        serializable: consistency == Consistency::Local,
        ..pb::RangeRequest::default()
    }
}

fn all(family: Family, consistency: Consistency) -> pb::RangeRequest {
    let prefix = family.prefix().as_bytes();
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    pb::RangeRequest {
        key: prefix.to_vec().into(),
        range_end: end.into(),
        serializable: consistency == Consistency::Local,
        ..pb::RangeRequest::default()
    }
}

/// What a node says only when nothing happened: it is busy, or has no room.
fn is_refusal(status: &Status) -> bool {
    let says = ["too many requests", "database space exceeded"];
    status.code() == Code::ResourceExhausted && says.iter().any(|s| status.message().contains(s))
}
