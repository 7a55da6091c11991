//! One question to one name server.

use super::message::{Answer, DATAGRAM_BYTES_MAX, Kind, NotOurs, question, read};
use super::name::Name;
use ring::rand::{SecureRandom, SystemRandom};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long one try takes at most.
const TRY_FOR: Duration = Duration::from_secs(1);

/// Datagrams get lost.
const TRIES: usize = 2;

/// Codes of answers (RFC 1035, 4.1.1): no error, and no such name.
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("the name server {server} cannot be asked: {source}")]
    Io { server: SocketAddr, source: io::Error },
    #[error("the name server {0} does not know the name")]
    NoSuchName(SocketAddr),
    #[error("the name server {server} refuses with code {code}")]
    Refused { server: SocketAddr, code: u8 },
    #[error("the name server {0} gives an answer that cannot be read")]
    Malformed(SocketAddr),
}

/// Asks over UDP, and over TCP when the answer does not fit a datagram.
pub(super) fn ask(server: SocketAddr, name: &Name, kind: Kind) -> Result<Answer, AskError> {
    let failed = |source| AskError::Io { server, source };
    let mut answer = Err(io::Error::from(io::ErrorKind::TimedOut));
    for _ in 0..TRIES {
        answer = ask_udp(server, name, kind);
        if !answer.as_ref().is_err_and(is_timeout) {
            break;
        }
    }
    let mut answer = answer.map_err(failed)?.map_err(|_| AskError::Malformed(server))?;
    if answer.is_cut {
        let whole = ask_tcp(server, name, kind).map_err(failed)?;
        answer = whole.map_err(|_| AskError::Malformed(server))?;
    }
    match answer.code {
        NO_ERROR => Ok(answer),
        NO_SUCH_NAME => Err(AskError::NoSuchName(server)),
        code => Err(AskError::Refused { server, code }),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Nobody who does not see the question can guess its number and the port it came from.
fn draw_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(u16::from_be_bytes(bytes))
}

fn ask_udp(server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Result<Answer, NotOurs>> {
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    // Only that server's datagrams are received from here on.
    socket.connect(server)?;
    let id = draw_id()?;
    socket.send(&question(id, name, kind))?;
    let deadline = Instant::now() + TRY_FOR;
    let mut buffer = [0; DATAGRAM_BYTES_MAX as usize];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        match read(&buffer[..length], id, (name, kind)) {
            Err(NotOurs::Other) => {}
            settled => return Ok(settled),
        }
    }
}

fn ask_tcp(server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Result<Answer, NotOurs>> {
    let mut stream = TcpStream::connect_timeout(&server, TRY_FOR)?;
    stream.set_read_timeout(Some(TRY_FOR))?;
    stream.set_write_timeout(Some(TRY_FOR))?;
    let id = draw_id()?;
    let question = question(id, name, kind);
    let length = u16::try_from(question.len()).expect("a question is shorter than 400 bytes");
    stream.write_all(&[&length.to_be_bytes()[..], &question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    // A server that sends a byte now and then does not get a second for each.
    let deadline = Instant::now() + TRY_FOR;
    let mut at = 0;
    while at < message.len() {
        let got = stream.read(&mut message[at..])?;
        if got == 0 || Instant::now() > deadline {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += got;
    }
    let answer = read(&message, id, (name, kind));
    // One that is cut even so would be asked for again for ever.
    Ok(answer.and_then(|answer| if answer.is_cut { Err(NotOurs::Malformed) } else { Ok(answer) }))
}
