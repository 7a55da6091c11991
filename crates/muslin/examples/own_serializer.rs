//! What members say to each other, in three formats: JSON, protobuf, and one of one's own.
//!
//! `cargo run -p muslin --no-default-features --example own_serializer`

use bytes::{Buf, BufMut, Bytes, BytesMut};
use muslin::codec::{Codec, CodecError, Json, Protobuf, contract};
use muslin::identity::Keyring;
use muslin::membership::{Event, Membership, Profile};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A value of the application. One type may have several formats.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
struct Order {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(string, tag = "2")]
    what: String,
}

/// Eight bytes of number, and the rest is text.
#[derive(Clone, Copy)]
struct Compact;

impl Codec<Order> for Compact {
    fn encode(&self, order: &Order) -> Result<Bytes, CodecError> {
        let mut bytes = BytesMut::with_capacity(8 + order.what.len());
        bytes.put_u64(order.number);
        bytes.put_slice(order.what.as_bytes());
        Ok(bytes.freeze())
    }

    fn decode(&self, mut bytes: &[u8]) -> Result<Order, CodecError> {
        let number = bytes.try_get_u64().map_err(|error| CodecError(error.to_string()))?;
        let what = std::str::from_utf8(bytes).map_err(|error| CodecError(error.to_string()))?;
        Ok(Order { number, what: what.to_string() })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(PATIENCE, run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    let order = Order { number: 7, what: "a pot of tea".to_string() };
    let orders = [Order::default(), order.clone()];

    // The suite that every serializer must pass.
    contract::check(&Json, &orders);
    contract::check(&Protobuf, &orders);
    contract::check(&Compact, &orders);
    println!("the contract holds for all three");

    let keyring = Keyring::generate();
    let member = |name: &str| {
        let builder = Membership::builder().name(name).bind((Ipv4Addr::LOCALHOST, 0).into());
        builder.profile(Profile::Fast).keyring(keyring.clone())
    };
    let n1 = member("n1").start().await?;
    let mut events = n1.subscribe();
    let n2 = member("n2").seeds([n1.myself().address.to_string()])?.start().await?;
    loop {
        match events.next().await.ok_or("the events came to an end")?? {
            Event::Joined(_) => break,
            other => println!("{other:?}"),
        }
    }
    say(&n1, &n2, Json, &order).await?;
    say(&n1, &n2, Protobuf, &order).await?;
    say(&n1, &n2, Compact, &order).await
}

/// From one to the other, on a stream.
async fn say<C: Codec<Order> + Copy>(
    from: &Membership,
    to: &Membership,
    codec: C,
    order: &Order,
) -> Result<(), Box<dyn Error>> {
    let (mut inbox, outbox) = (to.typed::<Order, C>(codec), from.typed::<Order, C>(codec));
    outbox.send(to.id(), order).await?;
    let (who, heard) = inbox.next().await.ok_or("the messages came to an end")??;
    let bytes = codec.encode(order)?;
    println!("{} bytes: {:?}", bytes.len(), String::from_utf8_lossy(bytes.chunk()));
    let is_right = who == from.id() && heard == *order;
    if is_right { Ok(()) } else { Err("something else was heard".into()) }
}
