//! Users, roles and rights.

use super::refuse;
use super::server::Etcd;
use crate::api::auth::Turned;
use crate::api::proto::authpb;
use crate::api::proto::etcdserverpb as pb;
use bytes::Bytes;
use muslin_core::node::{Consistency, Failure};
use muslin_core::state::Response as Answered;
use muslin_core::state::{
    AuthAnswer, AuthChange, AuthDisable, AuthEnable, AuthQuery, AuthRefusal, CommandKind, KeyRange,
    Permission, PermissionOfRole, Query, RoleOfUser, RolePermission, UserChange,
};
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

impl Etcd {
    async fn change_auth(&self, change: AuthChange) -> Result<super::convert::Header, Status> {
        let command = CommandKind::Auth(Box::new(change.into()));
        Ok(self.write(command).await?.1)
    }

    async fn ask_auth(
        &self,
        query: AuthQuery,
    ) -> Result<(AuthAnswer, super::convert::Header), Status> {
        let (answer, header) = self.read(Query::Auth(query), Consistency::Linearizable).await?;
        match answer {
            Answered::Auth(answer) => Ok((*answer, header)),
            _ => Err(refuse::unexpected()),
        }
    }

    async fn ask_names(
        &self,
        query: AuthQuery,
    ) -> Result<(Vec<String>, super::convert::Header), Status> {
        match self.ask_auth(query).await? {
            (AuthAnswer::Names(names), header) => Ok((names, header)),
            _ => Err(refuse::unexpected()),
        }
    }

    /// What a user is known by: the hash that came along, or one made here.
    async fn credential(&self, password: String, hashed: String) -> Result<Bytes, Status> {
        let doorman = &self.desk.doorman;
        match hashed.is_empty() {
            true => doorman.hashed(password).await.map_err(turned),
            false => doorman.brought(hashed).ok_or_else(refuse::foreign_hash),
        }
    }
}

#[tonic::async_trait]
impl pb::auth_server::Auth for Etcd {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Answer<pb::AuthEnableResponse> {
        self.admit(request.metadata())?;
        let drawn = self.desk.doorman.drawn_key();
        let token_key = drawn.ok_or_else(|| refuse::failure(Failure::Stopping))?;
        let header = self.change_auth(AuthChange::Enable(AuthEnable { token_key })).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Answer<pb::AuthDisableResponse> {
        self.admit(request.metadata())?;
        let header = self.change_auth(AuthChange::Disable(AuthDisable {})).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Answer<pb::AuthStatusResponse> {
        self.admit(request.metadata())?;
        let (answer, header) = self.ask_auth(AuthQuery::Status).await?;
        let AuthAnswer::Status { enabled, revision } = answer else {
            return Err(refuse::unexpected());
        };
        Ok(Response::new(pb::AuthStatusResponse { header, enabled, auth_revision: revision }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Answer<pb::AuthenticateResponse> {
        self.admit(request.metadata())?;
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let token = self.desk.doorman.authenticate(&name, &password).await.map_err(turned)?;
        let header = Some(self.header_here());
        Ok(Response::new(pb::AuthenticateResponse { header, token }))
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Answer<pb::AuthUserAddResponse> {
        self.admit(request.metadata())?;
        let pb::AuthUserAddRequest { name, password, options, hashed_password } =
            request.into_inner();
        let no_password = options.is_some_and(|options| options.no_password);
        if name.is_empty() {
            return Err(refuse::auth(AuthRefusal::UserEmpty));
        }
        let credential = match no_password {
            true => Bytes::new(),
            false => self.credential(password, hashed_password).await?,
        };
        let change = AuthChange::AddUser(UserChange { name, credential, no_password });
        let header = self.change_auth(change).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Answer<pb::AuthUserGetResponse> {
        self.admit(request.metadata())?;
        let query = AuthQuery::User(request.into_inner().name);
        let (roles, header) = self.ask_names(query).await?;
        Ok(Response::new(pb::AuthUserGetResponse { header, roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Answer<pb::AuthUserListResponse> {
        self.admit(request.metadata())?;
        let (users, header) = self.ask_names(AuthQuery::Users).await?;
        Ok(Response::new(pb::AuthUserListResponse { header, users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Answer<pb::AuthUserDeleteResponse> {
        self.admit(request.metadata())?;
        let change = AuthChange::DeleteUser(request.into_inner().name);
        let header = self.change_auth(change).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Answer<pb::AuthUserChangePasswordResponse> {
        self.admit(request.metadata())?;
        let pb::AuthUserChangePasswordRequest { name, password, hashed_password } =
            request.into_inner();
        let credential = self.credential(password, hashed_password).await?;
        let change = UserChange { name, credential, no_password: false };
        let header = self.change_auth(AuthChange::ChangePassword(change)).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Answer<pb::AuthUserGrantRoleResponse> {
        self.admit(request.metadata())?;
        let pb::AuthUserGrantRoleRequest { user, role } = request.into_inner();
        let header = self.change_auth(AuthChange::GrantRole(RoleOfUser { user, role })).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Answer<pb::AuthUserRevokeRoleResponse> {
        self.admit(request.metadata())?;
        let pb::AuthUserRevokeRoleRequest { name: user, role } = request.into_inner();
        let header = self.change_auth(AuthChange::RevokeRole(RoleOfUser { user, role })).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Answer<pb::AuthRoleAddResponse> {
        self.admit(request.metadata())?;
        let header = self.change_auth(AuthChange::AddRole(request.into_inner().name)).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Answer<pb::AuthRoleGetResponse> {
        self.admit(request.metadata())?;
        let (answer, header) = self.ask_auth(AuthQuery::Role(request.into_inner().role)).await?;
        let AuthAnswer::Permissions(all) = answer else {
            return Err(refuse::unexpected());
        };
        let perm = all.into_iter().map(told).collect();
        Ok(Response::new(pb::AuthRoleGetResponse { header, perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Answer<pb::AuthRoleListResponse> {
        self.admit(request.metadata())?;
        let (roles, header) = self.ask_names(AuthQuery::Roles).await?;
        Ok(Response::new(pb::AuthRoleListResponse { header, roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Answer<pb::AuthRoleDeleteResponse> {
        self.admit(request.metadata())?;
        let header = self.change_auth(AuthChange::DeleteRole(request.into_inner().role)).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Answer<pb::AuthRoleGrantPermissionResponse> {
        self.admit(request.metadata())?;
        let pb::AuthRoleGrantPermissionRequest { name: role, perm } = request.into_inner();
        let permission = perm.map(|perm| Permission {
            kind: perm.perm_type,
            range: KeyRange { key: perm.key, range_end: perm.range_end },
        });
        let change = AuthChange::GrantPermission(PermissionOfRole { role, permission });
        let header = self.change_auth(change).await?;
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Answer<pb::AuthRoleRevokePermissionResponse> {
        self.admit(request.metadata())?;
        let pb::AuthRoleRevokePermissionRequest { role, key, range_end } = request.into_inner();
        let range = KeyRange { key, range_end };
        let permission = Some(Permission { range, ..Permission::default() });
        let change = AuthChange::RevokePermission(PermissionOfRole { role, permission });
        let header = self.change_auth(change).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}

/// The numbers of the kinds are etcd's.
fn told(permission: RolePermission) -> authpb::Permission {
    let RolePermission { kind, key, range_end } = permission;
    authpb::Permission { perm_type: kind as i32, key, range_end }
}

/// Somebody was turned away.
pub(in crate::api) fn turned(turned: Turned) -> Status {
    match turned {
        Turned::Refused(refusal) => refuse::auth(refusal),
        Turned::Failed(failure) => refuse::failure(failure),
    }
}
