//! What the application holds of its member.

use super::builder::Builder;
use super::event::{Event, Member, Story};
use super::feed::{FEED_MAX, Feed};
use super::message::{Message, SendError, Way};
use super::typed::Typed;
use super::{Liveness, NodeId};
use crate::codec::Codec;
use crate::identity::Keyring;
use crate::transport::net::NetTransport;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Requests that wait for the loop; further callers wait for room.
pub(super) const MAIL_MAX: usize = 1_024;

/// A member of a cluster. Clones are the same member.
///
/// When the last clone is dropped the member stops without a word, as in a crash: the others will
/// find it down. [`Membership::leave`] says good-bye.
#[derive(Clone)]
pub struct Membership {
    mail: mpsc::Sender<Mail>,
    shared: Arc<Shared>,
}

/// This member has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this member has stopped")]
pub struct Stopped;

/// This member, as far as it knows itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Myself {
    /// As it tells the others.
    pub member: Member,
    /// Where the others see it, if that is not the address it says.
    pub observed: Option<SocketAddr>,
    /// How much it doubts itself: 0 is well, 8 is worst (Lifeguard's local health). One that is
    /// not well is slow to suspect others.
    pub health: u32,
}

/// The fields of its member, too.
impl std::ops::Deref for Myself {
    type Target = Member;
    fn deref(&self) -> &Member {
        &self.member
    }
}

/// What the loop shows; readers ask nobody.
pub(super) struct Shared {
    id: NodeId,
    net: Option<Arc<NetTransport>>,
    view: RwLock<Option<Arc<View>>>,
    /// `None` when the loop has ended.
    feeds: RwLock<Option<Feeds>>,
}

pub(super) struct View {
    pub(super) members: Vec<Member>,
    pub(super) myself: Myself,
}

struct Feeds {
    events: broadcast::Sender<Event>,
    messages: broadcast::Sender<Message>,
}

/// What reaches the loop.
pub(super) enum Mail {
    Describe(Bytes, oneshot::Sender<bool>),
    Send { to: NodeId, way: Way, bytes: Bytes },
    Broadcast(Bytes),
    Explain(NodeId, oneshot::Sender<Option<Story>>),
    Leave(oneshot::Sender<()>),
}

impl Shared {
    pub(super) fn new(id: NodeId, net: Option<Arc<NetTransport>>) -> Shared {
        let (events, messages) = (broadcast::channel(FEED_MAX).0, broadcast::channel(FEED_MAX).0);
        let feeds = RwLock::new(Some(Feeds { events, messages }));
        Shared { id, net, view: RwLock::default(), feeds }
    }

    pub(super) fn show(&self, view: View) {
        *self.view.write().expect("no holder of this lock panics") = Some(Arc::new(view));
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(feeds) = &*self.feeds.read().expect("no holder of this lock panics") {
            // Nobody may be listening.
            let _ = feeds.events.send(event);
        }
    }

    pub(super) fn hand_up(&self, message: Message) {
        if let Some(feeds) = &*self.feeds.read().expect("no holder of this lock panics") {
            let _ = feeds.messages.send(message);
        }
    }

    /// No more events or messages: readers are told the end.
    pub(super) fn end(&self) {
        *self.feeds.write().expect("no holder of this lock panics") = None;
    }

    fn view(&self) -> Arc<View> {
        let view = self.view.read().expect("no holder of this lock panics").clone();
        view.expect("a view is shown before anybody has a handle")
    }

    fn feed<T: Clone>(&self, of: impl FnOnce(&Feeds) -> &broadcast::Sender<T>) -> Feed<T> {
        match &*self.feeds.read().expect("no holder of this lock panics") {
            Some(feeds) => Feed::of(of(feeds)),
            None => Feed::of(&broadcast::channel(1).0),
        }
    }
}

impl Membership {
    /// Begins to say what a member is to be.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn new(mail: mpsc::Sender<Mail>, shared: Arc<Shared>) -> Membership {
        Membership { mail, shared }
    }

    /// This member's identity.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// All that are known, in id order, this one and those that are down or have left included:
    /// look at [`Member::state`].
    pub fn members(&self) -> Vec<Member> {
        self.shared.view().members.clone()
    }

    /// One of them.
    pub fn member(&self, id: NodeId) -> Option<Member> {
        self.shared.view().members.iter().find(|member| member.id == id).cloned()
    }

    /// This one, as the others see it.
    pub fn myself(&self) -> Myself {
        self.shared.view().myself.clone()
    }

    /// What happens from here on. Subscribe first and read [`Membership::members`] then: so nothing
    /// is missed.
    pub fn subscribe(&self) -> Feed<Event> {
        self.shared.feed(|feeds| &feeds.events)
    }

    /// What the applications of other members send from here on.
    pub fn messages(&self) -> Feed<Message> {
        self.shared.feed(|feeds| &feeds.messages)
    }

    /// Says something else of this member to all; the others see [`Event::Changed`]. False when
    /// there is no room for it in a packet: then all stays as it was.
    pub async fn set_metadata(&self, metadata: impl Into<Bytes>) -> Result<bool, Stopped> {
        self.ask(|reply| Mail::Describe(metadata.into(), reply)).await
    }

    /// Sends a message to one member on a stream: in order, and whole. It is lost when that member
    /// goes meanwhile or reads too slowly; who must know asks for an answer.
    pub async fn send(&self, to: NodeId, message: impl Into<Bytes>) -> Result<(), SendError> {
        self.post(to, Way::Stream, message.into()).await
    }

    /// Sends a message to one member by one datagram: cheap, and lost more easily.
    pub async fn send_datagram(
        &self,
        to: NodeId,
        message: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        self.post(to, Way::Datagram, message.into()).await
    }

    /// Sends a message to all others, by gossip: within a second or so of the `fast` profile each
    /// hears it, once, whoever they heard it from. This one does not.
    pub async fn broadcast(&self, message: impl Into<Bytes>) -> Result<(), SendError> {
        let bytes = message.into();
        Way::Broadcast.check(&bytes)?;
        self.mail.send(Mail::Broadcast(bytes)).await.map_err(|_| SendError::Stopped)
    }

    /// Messages of one type, by a serializer of your choice.
    pub fn typed<T, C: Codec<T>>(&self, codec: C) -> Typed<T, C> {
        Typed::new(self.clone(), codec)
    }

    /// Why a member is held to be what it is; `None` of one that is not known.
    pub async fn explain(&self, id: NodeId) -> Result<Option<Story>, Stopped> {
        self.ask(|reply| Mail::Explain(id, reply)).await
    }

    /// Seals with the first of these keys, and opens with all of them, from here on. To change a
    /// key without a gap, three steps, each at all members before the next: the new key second; the
    /// new key first; the old key gone. False when the transport is not ours.
    pub fn set_keyring(&self, keyring: Keyring) -> bool {
        let net = self.shared.net.as_ref();
        net.map(|net| net.set_keyring(keyring)).is_some()
    }

    /// Says good-bye, and stops. The others see [`Event::Left`] at once.
    pub async fn leave(self) {
        // One that has stopped has nothing more to say.
        let _ = self.ask(Mail::Leave).await;
    }

    async fn post(&self, to: NodeId, way: Way, bytes: Bytes) -> Result<(), SendError> {
        way.check(&bytes)?;
        let member = self.member(to).filter(|member| member.state <= Liveness::Suspect);
        if member.is_none() {
            return Err(SendError::NotThere(to));
        }
        let sent = self.mail.send(Mail::Send { to, way, bytes }).await;
        sent.map_err(|_| SendError::Stopped)
    }

    async fn ask<T>(&self, mail: impl FnOnce(oneshot::Sender<T>) -> Mail) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.mail.send(mail(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}
