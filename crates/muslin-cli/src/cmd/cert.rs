//! `muslin cert`

use super::token::fields;
use crate::args::{Cert, Global};
use crate::client::{Call, Client};
use crate::failure::Failure;
use crate::output;

/// Shows a node's papers, or has it get others.
pub(crate) async fn run(global: &Global, cert: Cert) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let body = match cert {
        Cert::Ls => client.json(Call::get("/v1/certificates")).await?,
        Cert::Rotate { gossip } => {
            if gossip {
                let begun = client.json(Call::post("/v1/gossip-keys:rotate", "")).await?;
                output::hint("the gossip key changes step by step: see `muslin cert ls`");
                if let Some(op) = begun["op"].as_str() {
                    output::hint(&format!("`muslin op wait {op}` waits until it has"));
                }
            }
            client.json(Call::post("/v1/certificates:rotate", "")).await?
        }
    };
    output::body(global.output, &body, fields)
}
