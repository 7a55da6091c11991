//! Three members in one process, on loopback: one is killed, one leaves, and the third tells what
//! it sees.
//!
//! `cargo run -p muslin --no-default-features --example membership`

use muslin::identity::Keyring;
use muslin::membership::{Event, Membership, Profile};
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

/// All of it takes about two seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(PATIENCE, run()).await?
}

async fn run() -> Result<(), Box<dyn Error>> {
    // In real life each member reads the same keys from its configuration.
    let keyring = Keyring::generate();
    let member = |name: &str| {
        let builder = Membership::builder().name(name).bind((Ipv4Addr::LOCALHOST, 0).into());
        let builder = builder.metadata(format!("{name} serves tea"));
        builder.profile(Profile::Fast).keyring(keyring.clone())
    };
    let n1 = member("n1").start().await?;
    let mut events = n1.subscribe();
    let seed = [n1.myself().address.to_string()];
    let n2 = member("n2").seeds(&seed)?.start().await?;
    let mut n3 = Some(member("n3").seeds(&seed)?.start().await?);

    let mut joined = 0;
    while let Some(told) = events.next().await {
        match told? {
            Event::Joined(member) => {
                let said = String::from_utf8_lossy(&member.metadata).into_owned();
                println!("{} joined at {}: {said:?}", member.name, member.address);
                joined += 1;
                if joined == 2 {
                    println!("n3 dies without a word");
                    n3 = None;
                }
            }
            Event::Suspected { member, evidence } => {
                println!("{} is suspected: {evidence}", member.name);
            }
            Event::Down { member, evidence } if member.name == "n3" && n3.is_none() => {
                println!("n3 is down: {evidence}");
                n2.clone().leave().await;
            }
            Event::Left(member) => {
                println!("{} left", member.name);
                return if member.name == "n2" { Ok(()) } else { Err("n2 was to leave".into()) };
            }
            other => println!("{other:?}"),
        }
    }
    Err("the events came to an end before n2 had left".into())
}
