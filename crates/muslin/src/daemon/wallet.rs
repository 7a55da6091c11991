//! The node's papers while it runs: taken up anew without cutting a connection.

use super::DaemonError;
use crate::api::Tls;
use crate::identity::Identity;
use crate::transport::quic::QuicTransport;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What the node shows, on disk and to whoever asks.
pub(super) struct Wallet {
    data_dir: PathBuf,
    transport: Arc<QuicTransport>,
    identity: watch::Sender<Arc<Identity>>,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    /// One change at a time: each is made of the identity before it.
    changing: Mutex<()>,
}

impl Wallet {
    pub(super) fn new(
        data_dir: &Path,
        identity: Identity,
        transport: Arc<QuicTransport>,
    ) -> Result<Wallet, DaemonError> {
        let tls = watch::Sender::new(identity.server_tls()?);
        let (data_dir, identity) = (data_dir.to_owned(), watch::Sender::new(Arc::new(identity)));
        Ok(Wallet { data_dir, transport, identity, tls, changing: Mutex::new(()) })
    }

    /// What the node is at present.
    pub(super) fn identity(&self) -> Arc<Identity> {
        self.identity.borrow().clone()
    }

    /// How the API speaks TLS, from now on.
    pub(super) fn tls(&self) -> Tls {
        self.tls.subscribe()
    }

    /// Takes up other papers: on the disk first, so that a crash cannot lose what others were told.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&Identity) -> Result<Identity, DaemonError>,
    ) -> Result<(), DaemonError> {
        let _one = self.changing.lock().expect("no holder of this lock panics");
        let before = self.identity();
        let after = change(&before)?;
        if after == *before {
            return Ok(());
        }
        after.save(&self.data_dir)?;
        if after.own != before.own {
            self.transport.renew(&after)?;
            self.tls.send_replace(after.server_tls()?);
        }
        if after.keyring != before.keyring {
            self.transport.set_keyring(after.keyring.clone());
        }
        self.identity.send_replace(Arc::new(after));
        Ok(())
    }
}
