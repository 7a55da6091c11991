//! The clients.

use super::call::{KvClient, PutRequest, RangeRequest};
use super::figures::{Figures, Seen};
use crate::args::{BenchKv, Mix};
use crate::failure::{Failure, Kind};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A call without an answer this long after the end of the load counts as an error.
const CALL_WAIT: Duration = Duration::from_secs(5);

/// After an error a client waits, so that a cluster that is down is not hammered.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Loads the cluster for as long as asked.
pub(crate) async fn run(bench: &BenchKv) -> Result<Figures, Failure> {
    let connections = bench.connections.unwrap_or(bench.clients).clamp(1, bench.clients.max(1));
    let mut channels = Vec::new();
    for number in 0..connections {
        channels.push(connect(&bench.endpoints[number % bench.endpoints.len()]).await?);
    }
    let start = Instant::now();
    let end = start + Duration::from_secs(bench.seconds);
    let value = Bytes::from(vec![b'x'; bench.value_bytes]);
    let client = |number: usize| {
        let client = KvClient::new(channels[number % connections].clone());
        let work = Work { number: number as u64, end, value: value.clone() };
        tokio::spawn(work.run(client, bench.mix, bench.keys.max(1)))
    };
    let clients: Vec<_> = (0..bench.clients).map(client).collect();
    let mut all = Seen::default();
    for client in clients {
        let seen = client.await;
        all.add(seen.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?);
    }
    Ok(Figures::new(all, start.elapsed()))
}

async fn connect(endpoint: &str) -> Result<Channel, Failure> {
    let address = match endpoint.contains("://") {
        true => endpoint.to_string(),
        false => format!("http://{endpoint}"),
    };
    let parsed = Endpoint::from_shared(address).map_err(|error| {
        Failure::new(Kind::Usage, format!("`{endpoint}` is no endpoint: {error}")).hint("HOST:PORT")
    })?;
    let connected = parsed.connect_timeout(CONNECT_WAIT).tcp_nodelay(true).connect().await;
    connected.map_err(|error| {
        let why = std::error::Error::source(&error).map_or(error.to_string(), |s| s.to_string());
        let failure =
            Failure::new(Kind::Unreachable, format!("cannot connect to {endpoint}: {why}"));
        failure.hint("name the etcd addresses with --endpoints; `muslin node ls` lists them")
    })
}

/// What one client does.
struct Work {
    number: u64,
    end: Instant,
    value: Bytes,
}

impl Work {
    async fn run(self, mut client: KvClient, mix: Mix, keys: u64) -> Seen {
        let mut seen = Seen::default();
        // Clients start far apart in the keys and walk through them with a stride of their own, so
        // that they neither meet nor need a generator of random numbers.
        let mut key = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut is_write = self.number.is_multiple_of(2);
        while Instant::now() < self.end {
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            is_write = match mix {
                Mix::Put => true,
                Mix::Get => false,
                Mix::Mixed => !is_write,
            };
            let name = Bytes::from(format!("bench/{:08}", (key >> 16) % keys));
            let start = Instant::now();
            let answer =
                tokio::time::timeout(CALL_WAIT, self.call(&mut client, is_write, name)).await;
            let micros = start.elapsed().as_micros().min(u128::from(u32::MAX)) as u32;
            let error = match answer {
                Ok(Ok(())) => {
                    seen.micros.push(micros);
                    continue;
                }
                Ok(Err(status)) => status.message().to_string(),
                Err(_) => "no answer in time".to_string(),
            };
            seen.errors += 1;
            seen.first_error.get_or_insert(error);
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        seen
    }

    async fn call(
        &self,
        client: &mut KvClient,
        is_write: bool,
        key: Bytes,
    ) -> Result<(), tonic::Status> {
        match is_write {
            true => client.put(PutRequest { key, value: self.value.clone() }).await,
            false => client.range(RangeRequest { key }).await,
        }
    }
}
