//! Following keys.
//!
//! A watch is a place in what has happened, see [`Cursor`]: nothing waits for its reader, who reads
//! when it likes, from the ring or from history. One that does not read costs nothing.

use super::Handle;
use super::handle::Mail;
use super::hub::{Inbox, Mark, Subscribed};
use muslin_core::base::{Index, Revision};
use muslin_core::node::{Failure, Reply, Request};
use muslin_core::state::{
    AuthRefusal, Compacted, Cursor, KvEvent, Passage, Room, Told, View, WatchSpec,
};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where one watch stands, among those of its reader.
pub(crate) struct Lookout {
    subscribed: Subscribed,
    cursor: Cursor,
    /// There is, or may be, something to read.
    has_more: bool,
}

/// How a watch begins.
pub(crate) enum Begun {
    /// It tells every change of `from` or later.
    Started { lookout: Box<Lookout>, from: Revision, revision: Revision },
    /// Not: history is gone before this.
    Compacted(Revision),
    /// Not: whoever asked may not see this.
    Denied(AuthRefusal),
}

/// What is read.
pub(crate) enum Read {
    /// Changes, or none.
    Passage(Passage),
    /// The last: history is gone before this.
    Compacted(Revision),
    /// The last: whoever asked may not see this any more.
    Denied(AuthRefusal),
}

impl Lookout {
    /// Begins one, which is marked in the inbox by this number.
    pub(crate) async fn begin(
        handle: &Handle,
        spec: WatchSpec,
        (inbox, number): (&Arc<Inbox>, u64),
    ) -> Result<Begun, Failure> {
        let expected = handle.hub().expect();
        match handle.ask(Request::Watch(spec.clone())).await {
            Ok(Reply::WatchStarted { from, revision, applied }) => {
                let subscribed = expected.subscribe(&spec.range, inbox, number);
                let cursor = Cursor::new(handle.asker(), spec, (from, applied));
                let lookout = Box::new(Lookout { subscribed, cursor, has_more: true });
                Ok(Begun::Started { lookout, from, revision })
            }
            Ok(Reply::WatchRefused { compacted }) => Ok(Begun::Compacted(compacted)),
            Ok(other) => Err(super::handle::unexpected(other)),
            Err(Failure::Denied(why)) => Ok(Begun::Denied(why)),
            Err(failure) => Err(failure),
        }
    }

    /// Its mark was taken.
    pub(crate) fn note(&mut self, mark: Mark) {
        self.subscribed.unmark();
        if !self.has_more {
            self.cursor.skip_to(mark.from);
            self.has_more = true;
        }
    }

    /// Whether there is, or may be, something to read.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    #[cfg(feature = "api")]
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// All before this was read, by another that stood where this one stood.
    #[cfg(feature = "api")]
    pub(crate) fn go_to(&mut self, next: Revision) {
        self.cursor.skip_to(next);
        self.has_more = false;
    }

    /// Reads on. Cancel safe.
    pub(crate) async fn read(&mut self, handle: &Handle, room: Room) -> Result<Read, Failure> {
        let told = match self.subscribed.hub().read(|ring| self.cursor.read(ring, room)) {
            Told::Behind => {
                let (at, view) = handle.view().await?;
                match self.cursor.read_history((at, &view), room) {
                    Ok(told) => told,
                    Err(Compacted(compacted)) => return Ok(Read::Compacted(compacted)),
                }
            }
            told => told,
        };
        Ok(match told {
            Told::Passage(passage) => {
                self.has_more = passage.has_more;
                Read::Passage(passage)
            }
            Told::Denied(why) => Read::Denied(why),
            // What is behind the ring is in the history it was just looked for in.
            Told::Behind => Read::Compacted(self.cursor.next()),
        })
    }
}

impl Handle {
    /// What there is of keys at this moment, and after which entry.
    pub(crate) async fn view(&self) -> Result<(Index, View), Failure> {
        let (sender, receiver) = oneshot::channel();
        self.mail(Mail::View(sender)).await?;
        receiver.await.map_err(|_| Failure::Stopping)
    }
}

/// Changes as they happen: complete, in order, each once (K2).
pub struct Watch {
    handle: Handle,
    inbox: Arc<Inbox>,
    /// What is told first.
    first: Option<WatchItem>,
    /// None when it has ended, or never begun.
    lookout: Option<Box<Lookout>>,
    /// The first revision not told.
    next: Revision,
    /// Progress asked for and not told.
    owed: usize,
}

/// What a watch tells.
#[derive(Clone, PartialEq, Debug)]
pub enum WatchItem {
    /// It began: every event of `from` or later will be told.
    Started {
        /// First revision that will be seen.
        from: Revision,
        /// Present revision.
        revision: Revision,
    },
    /// It cannot begin or go on, history is gone; the last item.
    Compacted {
        /// The earliest revision that can be watched from.
        compacted: Revision,
    },
    /// Changes, whole revisions, in order.
    Events {
        /// One or more.
        events: Vec<KvEvent>,
        /// All changes up to here have been told.
        revision: Revision,
    },
    /// Nothing more happened up to here.
    Progress {
        /// All changes up to here have been told.
        revision: Revision,
    },
    /// Whoever asked may not see this, or may not any more; the last item.
    Denied {
        /// Why.
        why: AuthRefusal,
    },
    /// The node stops; the last item.
    Cancelled {
        /// Watch again from here, and nothing is missed. As asked for if it had not begun.
        from: Revision,
    },
}

impl Watch {
    /// Asks the driver for one.
    pub(super) async fn start(handle: &Handle, spec: WatchSpec) -> Result<Watch, Failure> {
        let (inbox, mut next) = (Arc::<Inbox>::default(), Revision(spec.start_revision));
        let (first, lookout) = match Lookout::begin(handle, spec, (&inbox, 0)).await? {
            Begun::Started { lookout, from, revision } => {
                next = from;
                (WatchItem::Started { from, revision }, Some(lookout))
            }
            Begun::Compacted(compacted) => (WatchItem::Compacted { compacted }, None),
            Begun::Denied(why) => (WatchItem::Denied { why }, None),
        };
        let (handle, first) = (handle.clone(), Some(first));
        Ok(Watch { handle, inbox, first, lookout, next, owed: 0 })
    }

    /// Waits for the next item; `None` after the last. Cancel safe: nothing is lost when the call
    /// is dropped and made again.
    pub async fn next(&mut self) -> Option<WatchItem> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let lookout = self.lookout.as_mut()?;
            if self.handle.hub().is_closed() {
                return self.end(WatchItem::Cancelled { from: self.next });
            }
            if self.owed > 0 {
                self.handle.hub().look();
            }
            self.inbox.take().into_iter().for_each(|mark| lookout.note(mark));
            if lookout.has_more() {
                let passage = match lookout.read(&self.handle, Room::WHOLE).await {
                    Ok(Read::Passage(passage)) => passage,
                    Ok(Read::Compacted(compacted)) => {
                        return self.end(WatchItem::Compacted { compacted });
                    }
                    Ok(Read::Denied(why)) => return self.end(WatchItem::Denied { why }),
                    Err(_) => return self.end(WatchItem::Cancelled { from: self.next }),
                };
                self.next = self.next.max(passage.through.next());
                let events = passage.events();
                if !events.is_empty() {
                    return Some(WatchItem::Events { events, revision: passage.through });
                }
            } else if self.owed > 0 {
                self.owed -= 1;
                // Whoever has nothing to read was told all that was looked at.
                let looked = self.handle.hub().look();
                if self.inbox.is_empty() {
                    self.next = self.next.max(looked.next());
                    return Some(WatchItem::Progress { revision: looked });
                }
                self.owed += 1;
            } else {
                self.inbox.wait().await;
            }
        }
    }

    fn end(&mut self, item: WatchItem) -> Option<WatchItem> {
        self.lookout = None;
        Some(item)
    }

    /// Has a [`WatchItem::Progress`] told, after everything that happened before.
    pub fn request_progress(&mut self) {
        self.owed += 1;
    }
}
