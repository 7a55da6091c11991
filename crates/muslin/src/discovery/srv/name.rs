//! Names as DNS has them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Bytes of a name on the wire, the ending zero included (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// Bytes of one label.
pub(super) const LABEL_BYTES_MAX: usize = 63;

/// Where name servers listen.
const DNS_PORT: u16 = 53;

/// A domain name in lower case, without the dot at its end; the root is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name(String);

/// `_muslin._udp.example.org`, and perhaps `@10.0.0.53` or `@10.0.0.53:5353`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SrvName {
    pub(super) name: Name,
    pub(super) server: Option<SocketAddr>,
}

/// Why a name is refused. `Display` says what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SrvError {
    /// It does not begin like one.
    #[error(
        "`{0}` is no name of an SRV record: it begins with two labels like _muslin._udp; write \
         srv:_muslin._udp.example.org"
    )]
    Labels(String),
    /// No name can be so.
    #[error(
        "`{0}` is no domain name: labels of letters, digits, - and _ with at most 63 characters, \
         253 together"
    )]
    Name(String),
    /// What is behind the `@` is no address.
    #[error(
        "`{0}` is no address of a name server; write srv:_muslin._udp.example.org@10.0.0.53, with \
         :PORT if it is not 53"
    )]
    Server(String),
}

impl Name {
    pub(super) fn parse(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.chars().all(is_fit)
        };
        let is_name = text.len() + 2 <= NAME_BYTES_MAX && text.split('.').all(is_label);
        is_name.then_some(Name(text))
    }

    /// Of labels read from a message; `None` when no host is called so.
    pub(super) fn of_labels(labels: &[&[u8]]) -> Option<Name> {
        if labels.is_empty() {
            return Some(Name(String::new()));
        }
        let labels: Option<Vec<&str>> =
            labels.iter().map(|label| std::str::from_utf8(label).ok()).collect();
        let labels = labels?;
        // A dot inside a label would be taken for one between two.
        let is_whole = labels.iter().all(|label| !label.contains('.'));
        is_whole.then(|| Name::parse(&labels.join("."))).flatten()
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// As it stands in a question.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for label in self.0.split('.').filter(|label| !label.is_empty()) {
            out.push(u8::try_from(label.len()).expect("a label has at most 63 bytes"));
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SrvName {
    type Err = SrvError;

    fn from_str(text: &str) -> Result<SrvName, SrvError> {
        let (name, server) = match text.split_once('@') {
            None => (text, None),
            Some((name, server)) => (name, Some(parse_server(server)?)),
        };
        let starts_right = name.split('.').take(2).filter(|label| label.starts_with('_')).count();
        if starts_right != 2 {
            return Err(SrvError::Labels(name.to_string()));
        }
        let parsed = Name::parse(name).ok_or_else(|| SrvError::Name(name.to_string()))?;
        Ok(SrvName { name: parsed, server })
    }
}

fn parse_server(text: &str) -> Result<SocketAddr, SrvError> {
    let without_port = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT));
    let server = text.parse().ok().or_else(without_port);
    let is_one = |at: &SocketAddr| at.port() != 0 && !at.ip().is_unspecified();
    server.filter(is_one).ok_or_else(|| SrvError::Server(text.to_string()))
}

impl fmt::Display for SrvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server {
            None => write!(f, "{}", self.name),
            Some(server) => write!(f, "{}@{server}", self.name),
        }
    }
}
