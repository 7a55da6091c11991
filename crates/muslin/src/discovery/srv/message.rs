//! DNS messages: the questions we ask, and what we read of answers (RFC 1035, 2782, 6891).

use super::name::{LABEL_BYTES_MAX, Name};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most records kept of one section: as many as there may be contacts.
pub(super) const RECORDS_MAX: usize = 256;

/// What we can take in one datagram: fits every path of IPv6 (as resolvers have agreed on).
pub(super) const DATAGRAM_BYTES_MAX: u16 = 1_232;

const HEADER_BYTES: usize = 12;
const CLASS_INTERNET: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_OPT: u16 = 41;

/// Labels of one name. A name of 255 bytes has no more; a message that leads in circles has.
const LABELS_MAX: usize = 127;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// An answer to our question.
#[derive(Debug)]
pub(super) struct Answer {
    /// Cut: ask again over TCP.
    pub(super) is_cut: bool,
    /// 0, or why there is no answer.
    pub(super) code: u8,
    pub(super) records: Vec<Record>,
    pub(super) additional: Vec<Record>,
}

/// One record of a type that is of use here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) owner: Name,
    pub(super) ttl: u32,
    pub(super) content: Content,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Address(IpAddr),
    Alias(Name),
    Target(Target),
}

/// Where a service is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) host: Name,
}

/// Why a message is not an answer to our question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotOurs {
    /// It answers something else, or is a question itself: the right one may still come.
    Other,
    /// It breaks off or contradicts itself.
    Malformed,
}

/// A question, recursion desired.
pub(super) fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    const RECURSION_DESIRED: u16 = 0x0100;
    let mut bytes = Vec::with_capacity(64);
    // One question, no answers, no authorities, one additional record (EDNS).
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 1] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    name.write(&mut bytes);
    for word in [kind as u16, CLASS_INTERNET] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.push(0);
    for word in [TYPE_OPT, DATAGRAM_BYTES_MAX, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// Reads the answer to a question. Records of other types are passed over.
pub(super) fn read(bytes: &[u8], id: u16, asked: (&Name, Kind)) -> Result<Answer, NotOurs> {
    let mut reader = Reader { bytes, at: 0 };
    if bytes.len() < HEADER_BYTES || reader.u16()? != id {
        return Err(NotOurs::Other);
    }
    let flags = reader.u16()?;
    const RESPONSE: u16 = 0x8000;
    const CUT: u16 = 0x0200;
    let [questions, answers, authorities, additionals] =
        [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    if flags & RESPONSE == 0 {
        return Err(NotOurs::Other);
    }
    // Servers that do not understand a question may leave it out of the refusal.
    let code = u8::try_from(flags & 0xf).expect("four bits");
    if questions == 1 {
        let name = reader.name()?.ok_or(NotOurs::Other)?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        if (&name, kind, class) != (asked.0, asked.1 as u16, CLASS_INTERNET) {
            return Err(NotOurs::Other);
        }
    } else if questions != 0 || code == 0 {
        return Err(NotOurs::Other);
    }
    let is_cut = flags & CUT != 0;
    // What was cut ends anywhere.
    if is_cut {
        return Ok(Answer { is_cut, code, records: Vec::new(), additional: Vec::new() });
    }
    let records = reader.records(answers)?;
    reader.records(authorities)?;
    let additional = reader.records(additionals)?;
    Ok(Answer { is_cut, code, records, additional })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NotOurs> {
        let end = self.at.checked_add(count).ok_or(NotOurs::Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(NotOurs::Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotOurs> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    fn u16(&mut self) -> Result<u16, NotOurs> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// `None` is a name that no host can have: its record is of no use, the others are.
    fn name(&mut self) -> Result<Option<Name>, NotOurs> {
        let mut labels = Vec::new();
        let mut lowest = self.at;
        let mut behind = None;
        loop {
            let [length] = self.array()?;
            match length {
                0 => break,
                _ if usize::from(length) <= LABEL_BYTES_MAX => {
                    if labels.len() == LABELS_MAX {
                        return Err(NotOurs::Malformed);
                    }
                    labels.push(self.take(length.into())?);
                }
                0xc0.. => {
                    let [low] = self.array()?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    // Backwards only, below all that was read of this name: that comes to an end.
                    if target >= lowest {
                        return Err(NotOurs::Malformed);
                    }
                    behind.get_or_insert(self.at);
                    (self.at, lowest) = (target, target);
                }
                _ => return Err(NotOurs::Malformed),
            }
        }
        self.at = behind.unwrap_or(self.at);
        Ok(Name::of_labels(&labels))
    }

    fn records(&mut self, count: u16) -> Result<Vec<Record>, NotOurs> {
        let mut records = Vec::new();
        for _ in 0..count {
            let record = self.record()?;
            records.extend(record.filter(|_| records.len() < RECORDS_MAX));
        }
        Ok(records)
    }

    fn record(&mut self) -> Result<Option<Record>, NotOurs> {
        let owner = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.array()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(NotOurs::Malformed)?;
        let content = match (class == CLASS_INTERNET).then_some(kind) {
            Some(kind) => self.content(kind, length)?,
            None => None,
        };
        if content.is_some() && self.at != end {
            return Err(NotOurs::Malformed);
        }
        self.at = end;
        Ok(owner.zip(content).map(|(owner, content)| Record { owner, ttl, content }))
    }

    fn content(&mut self, kind: u16, length: usize) -> Result<Option<Content>, NotOurs> {
        const A: u16 = Kind::A as u16;
        const AAAA: u16 = Kind::Aaaa as u16;
        const SRV: u16 = Kind::Srv as u16;
        Ok(match kind {
            A if length == 4 => Some(Content::Address(Ipv4Addr::from(self.array::<4>()?).into())),
            AAAA if length == 16 => {
                Some(Content::Address(Ipv6Addr::from(self.array::<16>()?).into()))
            }
            A | AAAA => return Err(NotOurs::Malformed),
            TYPE_CNAME => self.name()?.map(Content::Alias),
            SRV => {
                let [priority, weight, port] = [self.u16()?, self.u16()?, self.u16()?];
                let host = self.name()?;
                host.map(|host| Content::Target(Target { priority, weight, port, host }))
            }
            _ => None,
        })
    }
}
