//! `muslin cluster`

use super::token::fields;
use crate::args::{Cluster, Global};
use crate::client::{Call, Client};
use crate::failure::Failure;
use crate::output;

/// Changes what holds for all nodes.
pub(crate) async fn run(global: &Global, cluster: Cluster) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let body = match cluster {
        Cluster::RaiseEpoch => client.json(Call::post("/v1/epoch:raise", "")).await?,
    };
    output::body(global.output, &body, fields)
}
