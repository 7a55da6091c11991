//! The tables of users and roles, and their changes.

use super::spans::Spans;
use super::{
    AUTH_NAME_BYTES_MAX, AUTH_ROLES_MAX, AuthChange, AuthCommand, AuthEnable, AuthRefusal,
    CREDENTIAL_BYTES_MAX, PERMISSION_BYTES_MAX, Permission, PermissionKind, PermissionOfRole,
    ROLE_PERMISSIONS_MAX, ROOT, RoleOfUser, TOKEN_KEY_BYTES, USER_ROLES_MAX, USERS_MAX, UserChange,
};
use crate::base::mutant::{self, Mutant};
use crate::state::{KeyRange, Refusal, Response};
use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use bytes::Bytes;

/// Who there is, and what they may do.
#[derive(Clone)]
pub(in crate::state) struct Auth {
    pub(super) is_enabled: bool,
    /// Rises with every change, from 1; etcd's clients see it.
    pub(super) revision: u64,
    /// The revision at which it was enabled last: an earlier token is worth nothing.
    pub(super) enabled_since: u64,
    /// Seals tokens; empty until auth is enabled for the first time.
    pub(super) token_key: Bytes,
    pub(super) users: BTreeMap<String, User>,
    pub(super) roles: BTreeMap<String, Role>,
    /// Of all of it; kept, since it is asked for more often than anything changes.
    pub(super) digest: u64,
}

/// One user.
#[derive(Clone, PartialEq)]
pub(super) struct User {
    pub(super) credential: Bytes,
    pub(super) no_password: bool,
    pub(super) roles: BTreeSet<String>,
    /// The revision of auth at which its password was set: an earlier token is of somebody who
    /// may not know it, or of another user who had this name.
    pub(super) known_since: u64,
}

/// One role.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Role {
    /// By the two ends of their ranges.
    pub(super) permissions: BTreeMap<(Bytes, Bytes), PermissionKind>,
    /// What they let read.
    pub(super) reads: Spans,
    /// What they let write.
    pub(super) writes: Spans,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            is_enabled: false,
            revision: 1,
            enabled_since: 0,
            token_key: Bytes::new(),
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            digest: 0,
        }
    }
}

/// Without hashes and keys.
impl core::fmt::Debug for Auth {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Auth")
            .field("is_enabled", &self.is_enabled)
            .field("revision", &self.revision)
            .field("users", &self.users.keys())
            .field("roles", &self.roles.keys())
            .finish_non_exhaustive()
    }
}

impl Auth {
    /// Carries a change out, whose asker may do so.
    pub(in crate::state) fn change(&mut self, command: &AuthCommand) -> Result<Response, Refusal> {
        let change = command.change.as_ref().ok_or(Refusal::Unknown)?;
        let is_news = match change {
            AuthChange::Enable(enable) => self.enable(enable),
            AuthChange::Disable(_) => Ok(self.disable()),
            AuthChange::AddUser(user) => self.add_user(user),
            AuthChange::DeleteUser(name) => self.delete_user(name),
            AuthChange::ChangePassword(user) => self.change_password(user),
            AuthChange::GrantRole(names) => self.grant_role(names),
            AuthChange::RevokeRole(names) => self.revoke_role(names),
            AuthChange::AddRole(name) => self.add_role(name),
            AuthChange::DeleteRole(name) => self.delete_role(name),
            AuthChange::GrantPermission(grant) => self.grant_permission(grant),
            AuthChange::RevokePermission(revoke) => self.revoke_permission(revoke),
        }
        .map_err(Refusal::Auth)?;
        if is_news {
            // Who enables it holds no token yet, and nobody else's was checked.
            if !matches!(change, AuthChange::Enable(_)) {
                self.revision += 1;
            }
            self.seal();
        }
        Ok(Response::Done)
    }

    /// Whether it is enabled, and its revision: changes with everything.
    pub(in crate::state) fn standing(&self) -> (bool, u64) {
        (self.is_enabled, self.revision)
    }

    fn enable(&mut self, enable: &AuthEnable) -> Result<bool, AuthRefusal> {
        if self.is_enabled {
            return Ok(false);
        }
        let root = self.users.get(ROOT).ok_or(AuthRefusal::RootUserMissing)?;
        if !root.roles.contains(ROOT) {
            return Err(AuthRefusal::RootRoleMissing);
        }
        if enable.token_key.len() != TOKEN_KEY_BYTES {
            return Err(AuthRefusal::BadForm);
        }
        self.is_enabled = true;
        let keeps = mutant::is_active(Mutant::TokenSurvivesDisable) && !self.token_key.is_empty();
        if !keeps {
            self.token_key = Bytes::copy_from_slice(&enable.token_key);
            self.enabled_since = self.revision;
        }
        Ok(true)
    }

    fn disable(&mut self) -> bool {
        core::mem::replace(&mut self.is_enabled, false)
    }

    fn add_user(&mut self, user: &UserChange) -> Result<bool, AuthRefusal> {
        if user.name.is_empty() {
            return Err(AuthRefusal::UserEmpty);
        }
        if self.users.contains_key(&user.name) {
            return Err(AuthRefusal::UserExists);
        }
        check_name(&user.name)?;
        check_room(self.users.len(), USERS_MAX)?;
        let (credential, no_password) = credential(user)?;
        let known_since = self.revision + 1;
        let made = User { credential, no_password, roles: BTreeSet::new(), known_since };
        self.users.insert(user.name.clone(), made);
        Ok(true)
    }

    fn delete_user(&mut self, name: &str) -> Result<bool, AuthRefusal> {
        if self.is_enabled && name == ROOT {
            return Err(AuthRefusal::InvalidManagement);
        }
        self.users.remove(name).map(|_| true).ok_or(AuthRefusal::UserNotFound)
    }

    fn change_password(&mut self, change: &UserChange) -> Result<bool, AuthRefusal> {
        let (credential, no_password) = credential(change)?;
        let known_since = self.revision + 1;
        let user = self.users.get_mut(&change.name).ok_or(AuthRefusal::UserNotFound)?;
        // Whoever is known by other means stays so; etcd keeps that too.
        if !user.no_password {
            *user = User { credential, no_password, known_since, ..user.clone() };
        }
        Ok(true)
    }

    fn grant_role(&mut self, names: &RoleOfUser) -> Result<bool, AuthRefusal> {
        let user = self.users.get_mut(&names.user).ok_or(AuthRefusal::UserNotFound)?;
        // As in etcd, there need not be a role of that name to have it.
        if names.role != ROOT && !self.roles.contains_key(&names.role) {
            return Err(AuthRefusal::RoleNotFound);
        }
        if user.roles.contains(&names.role) {
            return Ok(false);
        }
        check_room(user.roles.len(), USER_ROLES_MAX)?;
        user.roles.insert(names.role.clone());
        Ok(true)
    }

    fn revoke_role(&mut self, names: &RoleOfUser) -> Result<bool, AuthRefusal> {
        if self.is_enabled && names.user == ROOT && names.role == ROOT {
            return Err(AuthRefusal::InvalidManagement);
        }
        let user = self.users.get_mut(&names.user).ok_or(AuthRefusal::UserNotFound)?;
        let was_there = user.roles.remove(&names.role);
        if was_there { Ok(true) } else { Err(AuthRefusal::RoleNotGranted) }
    }

    fn add_role(&mut self, name: &str) -> Result<bool, AuthRefusal> {
        if name.is_empty() {
            return Err(AuthRefusal::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(AuthRefusal::RoleExists);
        }
        check_name(name)?;
        check_room(self.roles.len(), AUTH_ROLES_MAX)?;
        self.roles.insert(name.to_owned(), Role::default());
        Ok(true)
    }

    fn delete_role(&mut self, name: &str) -> Result<bool, AuthRefusal> {
        if self.is_enabled && name == ROOT {
            return Err(AuthRefusal::InvalidManagement);
        }
        self.roles.remove(name).ok_or(AuthRefusal::RoleNotFound)?;
        for user in self.users.values_mut() {
            user.roles.remove(name);
        }
        Ok(true)
    }

    fn grant_permission(&mut self, grant: &PermissionOfRole) -> Result<bool, AuthRefusal> {
        let permission = grant.permission.as_ref().ok_or(AuthRefusal::PermissionNotGiven)?;
        let KeyRange { key, range_end } = &permission.range;
        let is_known = PermissionKind::is_valid(permission.kind);
        let is_range = permission.range.is_point() || permission.range.end().is_some();
        if key.is_empty() || !is_range || !is_known {
            return Err(AuthRefusal::InvalidManagement);
        }
        if key.len().max(range_end.len()) > PERMISSION_BYTES_MAX {
            return Err(AuthRefusal::BadForm);
        }
        let role = self.roles.get_mut(&grant.role).ok_or(AuthRefusal::RoleNotFound)?;
        let place = (owned(key), owned(range_end));
        if !role.permissions.contains_key(&place) {
            check_room(role.permissions.len(), ROLE_PERMISSIONS_MAX)?;
        }
        role.permissions.insert(place, permission.kind());
        role.settle();
        Ok(true)
    }

    fn revoke_permission(&mut self, revoke: &PermissionOfRole) -> Result<bool, AuthRefusal> {
        let role = self.roles.get_mut(&revoke.role).ok_or(AuthRefusal::RoleNotFound)?;
        let range = revoke.permission.as_ref().map(|permission| permission.range.clone());
        let KeyRange { key, range_end } = range.unwrap_or_default();
        if role.permissions.remove(&(key, range_end)).is_none() {
            return Err(AuthRefusal::PermissionNotGranted);
        }
        role.settle();
        Ok(true)
    }
}

impl Role {
    /// What it lets do, by its permissions.
    pub(super) fn settle(&mut self) {
        let with = |wanted: PermissionKind| {
            let all = self.permissions.iter();
            let fit = all
                .filter(move |(_, kind)| **kind == wanted || **kind == PermissionKind::ReadWrite);
            let ranges = fit.map(|((key, range_end), _)| KeyRange {
                key: key.clone(),
                range_end: range_end.clone(),
            });
            Spans::of(ranges)
        };
        let (reads, writes) = (with(PermissionKind::Read), with(PermissionKind::Write));
        (self.reads, self.writes) = (reads, writes);
    }

    /// Its permissions, in order of their keys.
    pub(super) fn listed(&self) -> impl Iterator<Item = Permission> {
        self.permissions.iter().map(|((key, range_end), kind)| Permission {
            kind: *kind as i32,
            range: KeyRange { key: key.clone(), range_end: range_end.clone() },
        })
    }
}

/// What a user is to be known by.
fn credential(user: &UserChange) -> Result<(Bytes, bool), AuthRefusal> {
    if user.credential.len() > CREDENTIAL_BYTES_MAX {
        return Err(AuthRefusal::BadForm);
    }
    let credential = if user.no_password { Bytes::new() } else { owned(&user.credential) };
    Ok((credential, user.no_password))
}

/// The table's own copy: a slice would hold the whole message in memory.
pub(super) fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(super) fn check_name(name: &str) -> Result<(), AuthRefusal> {
    let is_bad =
        name.is_empty() || name.len() > AUTH_NAME_BYTES_MAX || name.chars().any(char::is_control);
    if is_bad { Err(AuthRefusal::BadForm) } else { Ok(()) }
}

fn check_room(held: usize, most: usize) -> Result<(), AuthRefusal> {
    if held < most { Ok(()) } else { Err(AuthRefusal::TooMany) }
}
