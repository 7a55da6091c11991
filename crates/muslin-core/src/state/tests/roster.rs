//! Commands and answers about members, in the scripts:
//!
//! ```text
//! token ID [secret=S] [expires=MS] [uses=N] [roles=R,..] [name=N] / tokens
//! admit ID name=N [token=T] [secret=S] [at=MS] [key=K] [address=A] [roles=R,..] [boot=R,..]
//!       [zone=Z] [wait=true] [for=ID]
//! remove ID [force=true] / update ID address=A / members / record / voters ID.. / join ID
//! approve ID [force=true] / deny ID / drain ID / resume ID / promote ID / demote ID / auto ID
//! roles ID [add=R,..] [remove=R,..] / label ID [set=K:V,..] [remove=K,..] [zone=Z]
//! down ID life=N by=ID,.. of=N / up ID life=N / leave ID life=N / reap ID..
//! epoch FROM [why=asked|tombstones] / settings [min=N] [target=N] [reap=MS] [hold=MS] [..]
//! revoke-token ID / rotate-token ID to=ID [secret=S]
//! add-key N [byte=N] / use-key N / drop-key N / load ID cpu=N parts=N / rekey ID from=K to=K
//! ```
//!
//! All of them take `at=MS` and `by=WHO`.

use super::script::{Outcomes, bytes, is_set, number, number_or};
use super::*;
use crate::base::NodeId;
use goldenscript::ArgumentConsumer;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::error::Error;
use std::format;
use std::string::String;

type Args<'a, 'b> = &'a mut ArgumentConsumer<'b>;

/// The command of this name, if it is one about members.
pub(super) fn change(
    name: &str,
    args: Args<'_, '_>,
) -> Result<Option<CommandKind>, Box<dyn Error>> {
    Ok(Some(match name {
        "token" => CommandKind::PutToken(token(args)?),
        "admit" => CommandKind::Admit(admit(args)?.into()),
        "remove" => CommandKind::Remove(Remove {
            id: number(args.next_pos())?,
            force: is_set(args, "force"),
            unix_ms: number_or(args, "at", 500)?,
        }),
        "update" => CommandKind::UpdateMember(UpdateMember {
            id: number(args.next_pos())?,
            address: word(args, "address"),
            etcd_address: String::new(),
        }),
        _ => {
            let unix_ms = number_or(args, "at", 500)?;
            let Some(change) = membership(name, args)? else { return Ok(None) };
            let by = word(args, "by");
            CommandKind::Membership(Membership { unix_ms, by, change: Some(change) }.into())
        }
    }))
}

fn membership(name: &str, args: Args<'_, '_>) -> Result<Option<MembershipChange>, Box<dyn Error>> {
    use MembershipChange as Change;
    Ok(Some(match name {
        "approve" => {
            let id = number(args.next_pos())?;
            Change::Approve(Approve { id, force: is_set(args, "force") })
        }
        "deny" => Change::Deny(whom(args)?),
        "drain" => Change::Drain(whom(args)?),
        "resume" => Change::Resume(whom(args)?),
        "promote" => Change::Promote(whom(args)?),
        "demote" => Change::Demote(whom(args)?),
        "auto" => Change::VoteAuto(whom(args)?),
        "roles" => Change::ChangeRoles(ChangeRoles {
            id: number(args.next_pos())?,
            add: list(args, "add"),
            remove: list(args, "remove"),
        }),
        "label" => Change::ChangeLabels(ChangeLabels {
            id: number(args.next_pos())?,
            set: (list(args, "set").iter())
                .filter_map(|pair| pair.split_once(':'))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            remove: list(args, "remove"),
            zone: args.take_key("zone").map(ToOwned::to_owned),
        }),
        "down" => Change::Down(down(args)?),
        "up" => Change::Up(life(args)?),
        "leave" => Change::Leave(life(args)?),
        "reap" => {
            let mut ids = Vec::new();
            while let Some(id) = args.next_pos() {
                ids.push(number(Some(id))?);
            }
            Change::Reap(Reap { ids })
        }
        "settings" => Change::SetSettings(Settings {
            min_members: number_or(args, "min", 0)? as u32,
            reap_after_ms: number_or(args, "reap", 0)?,
            tombstone_after_ms: number_or(args, "tombstone", 0)?,
            voters_target: number_or(args, "target", 0)? as u32,
            hold_for_ms: number_or(args, "hold", 0)?,
            tokens_only: is_set(args, "tokens_only"),
            ..Settings::default()
        }),
        _ => return keys_and_tokens(name, args),
    }))
}

fn keys_and_tokens(
    name: &str,
    args: Args<'_, '_>,
) -> Result<Option<MembershipChange>, Box<dyn Error>> {
    use MembershipChange as Change;
    let id = |args: Args<'_, '_>| args.next_pos().map(ToOwned::to_owned).ok_or("no id");
    Ok(Some(match name {
        "epoch" => {
            let from = number(args.next_pos())?;
            let why = match args.take_key("why") {
                Some("tombstones") => RaisedFor::Tombstones,
                _ => RaisedFor::Asked,
            };
            Change::RaiseEpoch(RaiseEpoch { from, why: why.into(), survivor: 0, to: 0 })
        }
        "revoke-token" => Change::RevokeToken(TokenName { id: id(args)? }),
        "rotate-token" => {
            let (id, to) = (id(args)?, word(args, "to"));
            let secret_hash = bytes(args.take_key("secret").unwrap_or("s"));
            let token = Token { id: to, secret_hash, expires_unix_ms: 1_000, ..Token::default() };
            Change::RotateToken(RotateToken { id, token })
        }
        "add-key" => {
            let generation = number(args.next_pos())?;
            let byte = number_or(args, "byte", generation)? as u8;
            Change::AddGossipKey(AddGossipKey { generation, key: vec![byte; 32].into() })
        }
        "use-key" => Change::UseGossipKey(KeyName { generation: number(args.next_pos())? }),
        "drop-key" => Change::DropGossipKey(KeyName { generation: number(args.next_pos())? }),
        "load" => {
            let id = number(args.next_pos())?;
            let cpu_permille = number_or(args, "cpu", 0)? as u32;
            let parts = number_or(args, "parts", 0)? as u32;
            let load = NodeLoad { cpu_permille, parts, ..NodeLoad::default() };
            Change::ReportLoad(ReportLoad { id, load })
        }
        "rekey" => Change::Rekey(Rekey {
            id: number(args.next_pos())?,
            from: bytes(args.take_key("from").unwrap_or("k")),
            key_hash: bytes(args.take_key("to").ok_or("no key")?),
        }),
        _ => return Ok(None),
    }))
}

fn token(args: Args<'_, '_>) -> Result<Token, Box<dyn Error>> {
    Ok(Token {
        id: args.next_pos().ok_or("no id")?.to_owned(),
        secret_hash: bytes(args.take_key("secret").unwrap_or("s")),
        expires_unix_ms: number_or(args, "expires", 1_000)?,
        uses_left: number_or(args, "uses", 0)?,
        roles: list(args, "roles"),
        name: word(args, "name"),
        ..Token::default()
    })
}

fn admit(args: Args<'_, '_>) -> Result<Admit, Box<dyn Error>> {
    let member = Member {
        id: number(args.next_pos())?,
        name: word(args, "name"),
        address: word(args, "address"),
        roles: list(args, "roles"),
        requires_for_bootstrap: list(args, "boot"),
        zone: word(args, "zone"),
        key_hash: bytes(args.take_key("key").unwrap_or("k")),
        admitted_at: 77,
        ..Member::default()
    };
    Ok(Admit {
        member,
        token_id: word(args, "token"),
        secret_hash: bytes(args.take_key("secret").unwrap_or("s")),
        unix_ms: number_or(args, "at", 500)?,
        may_wait: is_set(args, "wait"),
        in_place_of: number_or(args, "for", 0)?,
    })
}

fn down(args: Args<'_, '_>) -> Result<Down, Box<dyn Error>> {
    let id = number(args.next_pos())?;
    let mut witnesses = Vec::new();
    for node in list(args, "by") {
        let node = number(Some(&node))?;
        witnesses.push(Witness { node, probed_by: node, silent_ms: 700 });
    }
    let declared = DeclaredDown {
        incarnation: number_or(args, "life", 1)?,
        confirmed: witnesses.len() as u32,
        watchers: number_or(args, "of", witnesses.len() as u64)? as u32,
        witnesses,
        unix_ms: 0,
    };
    Ok(Down { id, declared })
}

fn life(args: Args<'_, '_>) -> Result<Life, Box<dyn Error>> {
    Ok(Life { id: number(args.next_pos())?, incarnation: number_or(args, "life", 1)? })
}

fn whom(args: Args<'_, '_>) -> Result<Whom, Box<dyn Error>> {
    Ok(Whom { id: number(args.next_pos())? })
}

fn word(args: Args<'_, '_>, key: &str) -> String {
    args.take_key(key).unwrap_or_default().to_owned()
}

fn list(args: Args<'_, '_>, key: &str) -> Vec<String> {
    let text = args.take_key(key).unwrap_or_default();
    text.split(',').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
}

/// Who votes, as the script says.
pub(super) fn voters(args: Args<'_, '_>) -> Result<BTreeSet<NodeId>, Box<dyn Error>> {
    let mut all = BTreeSet::new();
    while let Some(id) = args.next_pos() {
        all.insert(NodeId(number(Some(id))?));
    }
    Ok(all)
}

pub(super) fn members(state: &State) -> Outcomes {
    let mut lines: Vec<String> = state.members().values().map(shown_member).collect();
    lines.extend(state.tombstones().values().map(|one| {
        let successor = match one.successor {
            0 => String::new(),
            id => format!(", its name went to {:?}", NodeId(id)),
        };
        format!("{:?} removed in epoch {} ({:?}{successor})", NodeId(one.id), one.epoch, one.why())
    }));
    lines.extend(state.members.barred.iter().map(|(id, epoch)| format!("{id:?} barred {epoch}")));
    Ok(joined(lines))
}

pub(super) fn tokens(state: &State) -> Outcomes {
    let shown = |token: &Token| {
        let Token { id, expires_unix_ms, uses_left, used, .. } = token;
        let state = match token.state() {
            TokenState::Good => String::new(),
            other => format!(" {other:?}"),
        };
        format!("{id} expires={expires_unix_ms} uses={uses_left} used={used}{state}")
    };
    Ok(joined(state.tokens().values().map(shown)))
}

/// The rest of the record.
pub(super) fn record(state: &State) -> Outcomes {
    let mut lines = vec![format!("epoch {}, {}", state.epoch(), state.size())];
    if state.size().is_too_small() {
        lines.push("too small".into());
    }
    lines.push(format!("voters {:?}", state.voters()));
    lines.extend(state.held().values().map(shown_held));
    lines.extend(state.gossip_keys().values().map(|key| {
        let primary = if key.is_primary { " seals" } else { "" };
        format!("key {} of {}s{primary}", key.generation, key.key[0])
    }));
    Ok(joined(lines))
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

fn shown_held(held: &HeldJoin) -> String {
    let HeldJoin { member, token_id, expires_unix_ms, .. } = held;
    let id = member.node();
    let state = held.state();
    format!("{id:?} {} waits: {state:?} token={token_id} until={expires_unix_ms}", member.name)
}

fn shown_member(member: &Member) -> String {
    let id = member.node();
    let Member { name, address, admitted_at, .. } = member;
    let mut out = format!("{id:?} {name} address={address} admitted={admitted_at}");
    if member.state() != MemberState::Admitted {
        out += &format!(" {:?}", member.state());
    }
    if let Some(Standing::Down(down)) = &member.standing {
        let by: Vec<u64> = down.witnesses.iter().map(|witness| witness.node).collect();
        out += &format!(" in life {} by {by:?} of {}", down.incarnation, down.watchers);
    }
    if member.vote_wish() != VoteWish::Auto {
        out += &format!(" vote={:?}", member.vote_wish());
    }
    if !member.roles.is_empty() {
        out += &format!(" roles={}", member.roles.join(","));
    }
    if !member.labels.is_empty() {
        out += &format!(" labels={:?}", member.labels);
    }
    if member.epoch() > FIRST_EPOCH {
        out += &format!(" epoch={}", member.epoch());
    }
    out
}

pub(super) fn shown_news(news: &MemberNews) -> String {
    match news {
        MemberNews::Admitted(member) => format!("admitted {}", shown_member(member)),
        MemberNews::Updated(member) => format!("updated {}", shown_member(member)),
        MemberNews::Gone(member) => format!("gone {}", shown_member(member)),
        MemberNews::Back(member) => format!("back {}", shown_member(member)),
        MemberNews::Removed(id) => format!("removed {id:?}"),
        MemberNews::Held(held) => format!("held {}", shown_held(held)),
        other => format!("{other:?}"),
    }
}

pub(super) fn shown(response: &Response) -> Option<String> {
    Some(match response {
        // What was changed is told as news.
        Response::Admission(Admission::Admitted { known: false, .. }) => "Admitted".into(),
        Response::Member { changed, .. } => format!("member changed={changed}"),
        _ => return None,
    })
}
