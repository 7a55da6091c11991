//! What an asker may do: the one place that decides.

use super::spans::cover;
use super::table::{Auth, Role, User};
use super::{Asker, AuthQuery, AuthRefusal, ROOT};
use crate::base::LeaseId;
use crate::base::mutant::{self, Mutant};
use crate::state::kv::Kv;
use crate::state::lease::Leases;
use crate::state::txn::Chosen;
use crate::state::{
    CommandKind, DeleteRange, KeyRange, Op, OpKind, Put, Query, Refusal, State, Txn,
};
use bytes::Bytes;

/// What the keys begin with under which receipts stand of writes that are done once. Any user may
/// write and read one: whoever knows its name knows what it is of. To delete one takes rights as
/// for any key.
pub const RECEIPT_PREFIX: &[u8] = b"\0m/receipt/";

/// What a call needs that asks for no keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// To be somebody: any user.
    Known,
    /// The role `root`.
    Root,
}

type Checked = Result<(), AuthRefusal>;

/// What one asker may do with keys.
enum Rights<'a> {
    All,
    Of(&'a Auth, &'a User),
}

/// What is done with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

impl Auth {
    /// Whether the asker is somebody, and may do what needs this.
    fn check_needs(&self, asker: &Asker, needs: Needs) -> Checked {
        match self.asking(asker)? {
            Some(user) if needs == Needs::Root && !user.roles.contains(ROOT) => {
                Err(AuthRefusal::Denied)
            }
            _ => Ok(()),
        }
    }

    /// Whether the asker may be told all changes of a range.
    pub(in crate::state) fn check_watch(&self, asker: &Asker, range: &KeyRange) -> Checked {
        self.rights(asker)?.check(Use::Read, range)
    }

    /// What the asker may do with keys.
    fn rights(&self, asker: &Asker) -> Result<Rights<'_>, AuthRefusal> {
        Ok(match self.asking(asker)? {
            Some(user) if !user.roles.contains(ROOT) => Rights::Of(self, user),
            _ => Rights::All,
        })
    }

    /// The user whose rights count, as they are here and not as they were when it authenticated;
    /// nobody's where none do.
    fn asking(&self, asker: &Asker) -> Result<Option<&User>, AuthRefusal> {
        match asker {
            _ if !self.is_enabled => Ok(None),
            Asker::Cluster => Ok(None),
            Asker::Nobody => Err(AuthRefusal::UserEmpty),
            Asker::User(by) => {
                let user = self.users.get(&by.user).ok_or(AuthRefusal::InvalidToken)?;
                let is_good = by.auth_revision >= user.known_since.max(self.enabled_since);
                if is_good { Ok(Some(user)) } else { Err(AuthRefusal::InvalidToken) }
            }
        }
    }

    /// Whether the asker may be answered this, of these keys and leases.
    pub(in crate::state) fn check_query(
        &self,
        asker: &Asker,
        query: &Query,
        (kv, leases): (&Kv, &Leases),
    ) -> Result<(), Refusal> {
        let checked = || match query {
            Query::Range(range) => self.rights(asker)?.check(Use::Read, &range.range),
            Query::Txn(txn) => self.rights(asker)?.check_txn(txn, kv, leases),
            Query::Lease(id) => self.rights(asker)?.check_lease(Use::Read, *id, leases),
            Query::Leases
            | Query::Groups
            | Query::Group(_)
            | Query::Record
            | Query::Alarms
            | Query::Invites => self.check_needs(asker, Needs::Known),
            // How far the log has come is in the head of every answer.
            Query::Revision => Ok(()),
            Query::Join(_) | Query::Admission(_) | Query::GossipKeys => {
                self.check_needs(asker, Needs::Root)
            }
            Query::Auth(query) => self.check_question(asker, query),
        };
        checked().map_err(Refusal::Auth)
    }

    fn check_question(&self, asker: &Asker, query: &AuthQuery) -> Checked {
        match query {
            AuthQuery::Status => Ok(()),
            AuthQuery::May(needs) => self.check_needs(asker, *needs),
            AuthQuery::Users | AuthQuery::Roles => self.check_needs(asker, Needs::Root),
            AuthQuery::User(name) => match asker {
                Asker::User(by) if by.user == *name => self.check_needs(asker, Needs::Known),
                _ => self.check_needs(asker, Needs::Root),
            },
            AuthQuery::Role(name) => match self.asking(asker)? {
                Some(user) if user.roles.contains(name) => self.check_needs(asker, Needs::Known),
                _ => self.check_needs(asker, Needs::Root),
            },
            // Whether auth is enabled or not: hashes and keys leave no node.
            AuthQuery::Credential(_) | AuthQuery::TokenKey => match asker {
                Asker::Cluster => Ok(()),
                Asker::Nobody | Asker::User(_) => Err(AuthRefusal::Denied),
            },
        }
    }
}

impl Rights<'_> {
    fn check(&self, what: Use, range: &KeyRange) -> Checked {
        let is_receipt = range.is_point() && range.key.starts_with(RECEIPT_PREFIX);
        if is_receipt { Ok(()) } else { self.check_covered(what, range) }
    }

    /// Whether roles let the user do so.
    fn check_covered(&self, what: Use, range: &KeyRange) -> Checked {
        let Rights::Of(auth, user) = self else { return Ok(()) };
        let roles = user.roles.iter().filter_map(|role| auth.roles.get(role));
        let spans = roles.map(|role: &Role| match what {
            Use::Read => &role.reads,
            Use::Write => &role.writes,
        });
        if cover(spans, range) { Ok(()) } else { Err(AuthRefusal::Denied) }
    }

    fn check_key(&self, what: Use, key: &Bytes) -> Checked {
        self.check(what, &KeyRange { key: key.clone(), range_end: Bytes::new() })
    }

    /// Whether all keys of a lease may be used so. One that is not there has none.
    fn check_lease(&self, what: Use, lease: u64, leases: &Leases) -> Checked {
        let Rights::Of(..) = self else { return Ok(()) };
        let Some((_, lease)) = leases.table.get(&LeaseId(lease)) else { return Ok(()) };
        lease.keys().try_for_each(|key| self.check_key(what, &Bytes::from(key)))
    }

    /// A key that joins a lease goes with it: whoever may end the one could end the others.
    fn check_put(&self, put: &Put, leases: &Leases) -> Checked {
        self.check_key(Use::Write, &put.key)?;
        if put.lease != 0 {
            self.check_lease(Use::Write, put.lease, leases)?;
        }
        if put.prev_kv { self.check_key(Use::Read, &put.key) } else { Ok(()) }
    }

    fn check_delete(&self, delete: &DeleteRange) -> Checked {
        self.check_covered(Use::Write, &delete.range)?;
        let is_told = delete.prev_kv && !mutant::is_active(Mutant::PrevKvUnchecked);
        if is_told { self.check(Use::Read, &delete.range) } else { Ok(()) }
    }

    /// Both branches: which one runs tells what the comparisons found.
    fn check_txn(&self, txn: &Txn, kv: &Kv, leases: &Leases) -> Checked {
        let Rights::Of(..) = self else { return Ok(()) };
        for compare in &txn.compares {
            self.check(Use::Read, &compare.range)?;
        }
        let taken = mutant::is_active(Mutant::AuthChecksTakenBranchOnly)
            .then(|| Chosen::of(txn, kv).has_succeeded());
        if taken != Some(false) {
            self.check_ops(&txn.success, kv, leases)?;
        }
        if taken != Some(true) {
            self.check_ops(&txn.failure, kv, leases)?;
        }
        Ok(())
    }

    fn check_ops(&self, ops: &[Op], kv: &Kv, leases: &Leases) -> Checked {
        ops.iter().try_for_each(|op| match &op.kind {
            Some(OpKind::Range(range)) => self.check(Use::Read, &range.range),
            Some(OpKind::Put(put)) => self.check_put(put, leases),
            Some(OpKind::Delete(delete)) => self.check_delete(delete),
            Some(OpKind::Txn(txn)) => self.check_txn(txn, kv, leases),
            None => Ok(()),
        })
    }
}

impl State {
    /// Whether the asker may have this command carried out, here and now.
    pub(crate) fn check_command(&self, asker: &Asker, kind: &CommandKind) -> Result<(), Refusal> {
        self.checked_command(asker, kind).map_err(Refusal::Auth)
    }

    fn checked_command(&self, asker: &Asker, kind: &CommandKind) -> Checked {
        let (auth, leases) = (&self.auth, &self.leases);
        if !auth.is_enabled || *asker == Asker::Cluster {
            return Ok(());
        }
        match kind {
            CommandKind::Put(put) => auth.rights(asker)?.check_put(put, leases),
            CommandKind::Delete(delete) => auth.rights(asker)?.check_delete(delete),
            CommandKind::Txn(txn) => auth.rights(asker)?.check_txn(txn, &self.kv, leases),
            CommandKind::LeaseGrant(_) => auth.check_needs(asker, Needs::Known),
            CommandKind::LeaseRevoke(revoke) => {
                let rights = auth.rights(asker)?;
                let mut ids = revoke.ids.iter();
                ids.try_for_each(|id| rights.check_lease(Use::Write, *id, leases))
            }
            // All others change more than keys.
            _ => auth.check_needs(asker, Needs::Root),
        }
    }

    /// Whether the asker may be answered this.
    pub(in crate::state) fn check_query(
        &self,
        asker: &Asker,
        query: &Query,
    ) -> Result<(), Refusal> {
        self.auth.check_query(asker, query, (&self.kv, &self.leases))
    }

    /// Whether the asker may be told all changes of a range.
    pub fn check_watch(&self, asker: &Asker, range: &KeyRange) -> Result<(), Refusal> {
        self.auth.check_watch(asker, range).map_err(Refusal::Auth)
    }

    /// Whether the asker may do what needs this.
    pub fn check_needs(&self, asker: &Asker, needs: Needs) -> Result<(), Refusal> {
        self.auth.check_needs(asker, needs).map_err(Refusal::Auth)
    }
}
