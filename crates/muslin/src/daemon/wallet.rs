//! The node's papers while it runs: taken up anew without cutting a connection.

use super::DaemonError;
use crate::api::Tls;
use crate::identity::Identity;
use crate::transport::quic::QuicTransport;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};

/// What the node shows, on disk and to whoever asks.
pub(super) struct Wallet {
    data_dir: PathBuf,
    transport: Arc<QuicTransport>,
    identity: watch::Sender<Arc<Identity>>,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    /// One change at a time: each is made of the identity before it.
    changing: Mutex<()>,
    /// Somebody wants other papers, whatever is left of these.
    wanted: AtomicBool,
    wake: Notify,
}

impl Wallet {
    pub(super) fn new(
        data_dir: &Path,
        identity: Identity,
        transport: Arc<QuicTransport>,
    ) -> Result<Wallet, DaemonError> {
        let tls = watch::Sender::new(identity.server_tls()?);
        let (data_dir, identity) = (data_dir.to_owned(), watch::Sender::new(Arc::new(identity)));
        let (wanted, wake) = (AtomicBool::new(false), Notify::new());
        Ok(Wallet { data_dir, transport, identity, tls, changing: Mutex::new(()), wanted, wake })
    }

    /// What the node is at present.
    pub(super) fn identity(&self) -> Arc<Identity> {
        self.identity.borrow().clone()
    }

    /// How the API speaks TLS, from now on.
    pub(super) fn tls(&self) -> Tls {
        self.tls.subscribe()
    }

    /// Asks for other papers, and waits until the node has them.
    pub(super) async fn rotate(&self) {
        let mut identity = self.identity.subscribe();
        let before = identity.borrow_and_update().own.clone();
        self.wanted.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        // The wallet holds the sender: it cannot be gone.
        let _ = identity.wait_for(|present| present.own != before).await;
    }

    /// Whether somebody wants other papers.
    pub(super) fn is_rotation_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Resolves when somebody begins to want them.
    pub(super) async fn wanted(&self) {
        self.wake.notified().await;
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
            self.wanted.store(false, Ordering::Relaxed);
        }
        if after.keyring != before.keyring {
            self.transport.set_keyring(after.keyring.clone());
        }
        self.identity.send_replace(Arc::new(after));
        Ok(())
    }
}
