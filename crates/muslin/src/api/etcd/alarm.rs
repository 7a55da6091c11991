//! Alarms: those that were raised by hand, and what nodes notice by themselves.

use super::refuse;
use super::server::Etcd;
use crate::api::proto::etcdserverpb as pb;
use muslin_core::node::{Consistency, NodeStatus};
use muslin_core::state::Response as Answered;
use muslin_core::state::{Alarm, AlarmKind, CommandKind, Query, SetAlarm};
use pb::alarm_request::AlarmAction;
use tonic::Status;

impl Etcd {
    /// Lists alarms, raises one, or ends one. Which ones that are there it tells of, or did.
    pub(super) async fn alarms(
        &self,
        request: pb::AlarmRequest,
    ) -> Result<pb::AlarmResponse, Status> {
        let pb::AlarmRequest { action, member_id, alarm } = request;
        let alarm = Alarm { member: member_id, kind: alarm };
        let Ok(action) = AlarmAction::try_from(action) else {
            return Err(Status::invalid_argument("muslin: alarms are got, activated, deactivated"));
        };
        // As etcd: what is about nothing changes nothing.
        let is_about_nothing = alarm.kind == AlarmKind::None as i32;
        let is_raised = match action {
            AlarmAction::Get => return self.listed(alarm).await,
            _ if is_about_nothing => {
                let header = Some(self.header_here());
                return Ok(pb::AlarmResponse { header, alarms: Vec::new() });
            }
            AlarmAction::Activate => true,
            AlarmAction::Deactivate => false,
        };
        let set = SetAlarm { alarm, is_raised };
        let (answer, header) = self.write(CommandKind::Alarm(set)).await?;
        let Answered::Alarm { changed } = answer else { return Err(refuse::unexpected()) };
        // One that was not raised is not ended.
        let alarms = if is_raised || changed { vec![told(alarm)] } else { Vec::new() };
        Ok(pb::AlarmResponse { header, alarms })
    }

    async fn listed(&self, wanted: Alarm) -> Result<pb::AlarmResponse, Status> {
        let (answer, header) = self.read(Query::Alarms, Consistency::Linearizable).await?;
        let Answered::Alarms { mut alarms } = answer else { return Err(refuse::unexpected()) };
        let status = self.desk.handle.status().await.map_err(refuse::failure)?;
        alarms.extend(noticed(&status));
        alarms.sort_unstable();
        alarms.dedup();
        let is_wanted = |alarm: &Alarm| {
            (wanted.member == 0 || wanted.member == alarm.member)
                && (wanted.kind == AlarmKind::None as i32 || wanted.kind == alarm.kind)
        };
        let alarms = alarms.into_iter().filter(is_wanted).map(told).collect();
        Ok(pb::AlarmResponse { header, alarms })
    }

    /// All alarms as known here, in words as etcd's status has them.
    pub(super) async fn alarm_errors(&self, status: &NodeStatus) -> Result<Vec<String>, Status> {
        let (answer, _) = self.read_for_node(Query::Alarms).await?;
        let Answered::Alarms { mut alarms } = answer else { return Err(refuse::unexpected()) };
        alarms.extend(noticed(status));
        alarms.sort_unstable();
        alarms.dedup();
        let words = |alarm: Alarm| {
            let kind = if alarm.kind() == AlarmKind::Corrupt { "CORRUPT" } else { "NOSPACE" };
            format!("memberID:{} alarm:{kind} ", alarm.member)
        };
        Ok(alarms.into_iter().map(words).collect())
    }
}

/// Full disks, and the quota when it is reached: these end when there is room again, and not
/// before.
fn noticed(status: &NodeStatus) -> Vec<Alarm> {
    let is_over = status.state_bytes >= status.quota_bytes;
    let over = is_over.then_some(status.leader.unwrap_or(status.id));
    let kind = AlarmKind::NoSpace as i32;
    status.full.iter().copied().chain(over).map(|id| Alarm { member: id.0, kind }).collect()
}

fn told(alarm: Alarm) -> pb::AlarmMember {
    pb::AlarmMember { member_id: alarm.member, alarm: alarm.kind }
}
