//! A way to find members of one's own: a file with an address in each line, that something else
//! writes (a scheduler, a configuration system).
//!
//! `cargo run -p muslin --no-default-features --example own_discovery`

use muslin::discovery::{CONTACTS_MAX, Discovery, contract};
use muslin::identity::Keyring;
use muslin::membership::{Event, Membership, Profile};
use std::collections::BTreeSet;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the file at every try.
struct Listing {
    path: PathBuf,
    last: Vec<SocketAddr>,
}

impl Listing {
    fn new(path: &Path) -> Listing {
        Listing { path: path.to_path_buf(), last: Vec::new() }
    }
}

impl Discovery for Listing {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        // What was known lasts while the source fails.
        if let Ok(text) = std::fs::read_to_string(&self.path) {
            let addresses: BTreeSet<SocketAddr> =
                text.lines().filter_map(|line| line.trim().parse().ok()).collect();
            let usable = addresses.into_iter().filter(|address| address.port() != 0);
            let usable = usable.filter(|address| !address.ip().is_unspecified());
            let usable = usable.filter(|address| !address.ip().is_multicast());
            self.last = usable.take(CONTACTS_MAX).collect();
        }
        self.last.clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("members");

    // The suite that every discovery of the library passes.
    std::fs::write(&path, "10.0.0.1:7400\nrubbish\n10.0.0.1:7400\n0.0.0.0:1\n10.0.0.2:7400\n")?;
    let mut listing = Listing::new(&path);
    contract::check(&mut listing);
    contract::check_lasting(&mut listing, || std::fs::remove_file(&path).expect("it is there"));
    println!("the contract holds");

    tokio::time::timeout(PATIENCE, find_each_other(&path)).await?
}

async fn find_each_other(path: &Path) -> Result<(), Box<dyn Error>> {
    let keyring = Keyring::generate();
    let member = |name: &str| {
        let builder = Membership::builder().name(name).bind((Ipv4Addr::LOCALHOST, 0).into());
        let builder = builder.profile(Profile::Fast).keyring(keyring.clone());
        builder.discovery(Listing::new(path))
    };
    let n1 = member("n1").start().await?;
    let mut events = n1.subscribe();
    let _n2 = member("n2").start().await?;
    // Nobody knows anybody yet. Both look again every two seconds.
    std::fs::write(path, format!("{}\n", n1.myself().address))?;
    while let Some(told) = events.next().await {
        if let Event::Joined(member) = told? {
            println!("{} was found by the file", member.name);
            return Ok(());
        }
    }
    Err("nobody was found".into())
}
