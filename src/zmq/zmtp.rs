//! ZMTP 3.1 (ZeroMQ RFC 37) as bytes: greeting, commands and frames, without any I/O. No security
//! mechanism but NULL, as vLLM uses none.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of a greeting.
pub const GREETING: usize = 64;
/// The longest frame that most peers may send: requests and subscriptions are short.
pub const SHORT_FRAME: usize = 64 * 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What a peer got wrong.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Violation {
    #[error("it does not speak ZMTP")]
    NoZmtp,
    #[error("it speaks ZMTP {0}, not 3")]
    Version(u8),
    #[error("it wants the security mechanism {0}, not NULL")]
    Mechanism(String),
    #[error("its socket is {0:?}, which does not fit")]
    SocketType(String),
    #[error("it sent a frame of {0} bytes")]
    Large(u64),
    #[error("it sent a malformed command")]
    Command,
    #[error("it refused the connection: {0}")]
    Refused(String),
}

/// The greeting of a 3.1 peer with mechanism NULL.
pub fn greeting() -> [u8; GREETING] {
    let mut bytes = [0; GREETING];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Checks as much of a peer's greeting as is there. All 64 bytes must be seen in the end.
pub fn check_greeting(bytes: &[u8]) -> Result<(), Violation> {
    let wrong = |at: usize, wanted: u8| bytes.get(at).is_some_and(|&byte| byte != wanted);
    if wrong(0, 0xff) || bytes.get(9).is_some_and(|byte| byte & 1 == 0) {
        return Err(Violation::NoZmtp);
    }
    if let Some(&major) = bytes.get(10).filter(|&&major| major < 3) {
        return Err(Violation::Version(major));
    }
    if let Some(mechanism) = bytes.get(12..32) {
        let name = mechanism.split(|&byte| byte == 0).next().unwrap_or_default();
        if name != b"NULL" {
            return Err(Violation::Mechanism(String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(())
}

/// The READY command of a socket.
pub fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((socket_type.len() as u32).to_be_bytes());
    body.extend(socket_type.as_bytes());
    let mut out = Vec::new();
    put_frame(&mut out, COMMAND, &body);
    out
}

/// Checks a peer's READY command: its socket must be one of `allowed`.
pub fn check_ready(body: &[u8], allowed: &[&str]) -> Result<(), Violation> {
    let (name, mut rest) = command(body)?;
    if name == b"ERROR" {
        let reason = rest.split_first().map_or(&[][..], |(_, reason)| reason);
        return Err(Violation::Refused(String::from_utf8_lossy(reason).into_owned()));
    }
    if name != b"READY" {
        return Err(Violation::Command);
    }
    while !rest.is_empty() {
        let (key, after) = cut(rest, 1)?;
        let (value, after) = cut(after, 4)?;
        if key.eq_ignore_ascii_case(b"Socket-Type") {
            let fits = allowed.iter().any(|name| name.as_bytes() == value);
            let name = || String::from_utf8_lossy(value).into_owned();
            return if fits { Ok(()) } else { Err(Violation::SocketType(name())) };
        }
        rest = after;
    }
    Err(Violation::SocketType(String::new()))
}

/// A text after its length, which is `width` bytes long.
fn cut(bytes: &[u8], width: usize) -> Result<(&[u8], &[u8]), Violation> {
    let (len, rest) = bytes.split_at_checked(width).ok_or(Violation::Command)?;
    let len = len.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
    rest.split_at_checked(len).ok_or(Violation::Command)
}

/// The name and the data of a command.
pub fn command(body: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    cut(body, 1)
}

/// The answer to a PING command's data: a time to live of 2 bytes, then what comes back.
pub fn pong(ping: &[u8]) -> Vec<u8> {
    let mut body = b"\x04PONG".to_vec();
    body.extend(ping.get(2..).unwrap_or_default());
    let mut out = Vec::new();
    put_frame(&mut out, COMMAND, &body);
    out
}

/// Appends a message of several frames.
pub fn put_message(out: &mut impl BufMut, frames: &[&[u8]]) {
    for (i, frame) in frames.iter().enumerate() {
        put_frame(out, if i + 1 < frames.len() { MORE } else { 0 }, frame);
    }
}

fn put_frame(out: &mut impl BufMut, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(len) => out.put_slice(&[flags, len]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(body.len() as u64);
        }
    }
    out.put_slice(body);
}

/// A frame that a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub command: bool,
    /// Another frame of the same message follows.
    pub more: bool,
    pub body: Bytes,
}

/// Takes the next frame off `input`; `None` until all of it is there. More than `most` bytes are
/// refused before they arrive.
pub fn take_frame(input: &mut BytesMut, most: usize) -> Result<Option<Frame>, Violation> {
    let Some(&flags) = input.first() else { return Ok(None) };
    let (head, len) = if flags & LONG == 0 {
        let Some(&len) = input.get(1) else { return Ok(None) };
        (2, u64::from(len))
    } else {
        let Some(len) = input.get(1..9) else { return Ok(None) };
        (9, u64::from_be_bytes(len.try_into().expect("8 bytes")))
    };
    let Some(size) = usize::try_from(len).ok().filter(|size| *size <= most) else {
        return Err(Violation::Large(len));
    };
    if input.len() < head + size {
        return Ok(None);
    }
    input.advance(head);
    let body = input.split_to(size).freeze();
    Ok(Some(Frame { command: flags & COMMAND != 0, more: flags & MORE != 0, body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_greeting_is_accepted_by_its_own_rules_and_others_are_named() {
        let good = greeting();
        (0..=GREETING).for_each(|len| assert_eq!(check_greeting(&good[..len]), Ok(())));
        let with = |at: usize, byte| {
            let mut bytes = good;
            bytes[at] = byte;
            check_greeting(&bytes)
        };
        assert_eq!(with(0, b'G'), Err(Violation::NoZmtp));
        assert_eq!(with(10, 1), Err(Violation::Version(1)));
        assert_eq!(with(12, b'C'), Err(Violation::Mechanism("CULL".to_owned())));
    }

    #[test]
    fn ready_names_a_socket_that_fits() {
        let mut bytes = BytesMut::from(&ready("SUB")[..]);
        let frame = take_frame(&mut bytes, SHORT_FRAME).unwrap().unwrap();
        assert!(frame.command && !frame.more && bytes.is_empty());
        assert_eq!(check_ready(&frame.body, &["SUB", "XSUB"]), Ok(()));
        let error = Violation::SocketType("SUB".to_owned());
        assert_eq!(check_ready(&frame.body, &["DEALER"]), Err(error));
        let refused = Violation::Refused("no".to_owned());
        assert_eq!(check_ready(b"\x05ERROR\x02no", &["SUB"]), Err(refused));
        assert_eq!(check_ready(b"\x05READY\x0bSocket", &["SUB"]), Err(Violation::Command));
    }

    #[test]
    fn a_pong_returns_what_the_ping_carried() {
        assert_eq!(pong(b"\x00\x0aabc"), b"\x04\x08\x04PONGabc");
        assert_eq!(pong(b""), b"\x04\x05\x04PONG");
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_arrives() {
        let mut bytes = BytesMut::from(&b"\x02\0\0\0\0\xff\0\0\0"[..]);
        assert_eq!(take_frame(&mut bytes, SHORT_FRAME), Err(Violation::Large(0xff00_0000)));
    }

    proptest! {
        #[test]
        fn messages_come_back_in_any_pieces(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..5),
            cut in 1..50usize,
        ) {
            let mut bytes = Vec::new();
            let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            put_message(&mut bytes, &slices);
            let (mut input, mut found) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(frame) = take_frame(&mut input, SHORT_FRAME).unwrap() {
                    prop_assert!(!frame.command);
                    prop_assert_eq!(frame.more, found.len() + 1 < frames.len());
                    found.push(frame.body.to_vec());
                }
            }
            prop_assert_eq!(found, frames);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = take_frame(&mut input, SHORT_FRAME) {
                let _ = check_ready(&frame.body, &["SUB"]);
                let _ = command(&frame.body);
            }
            let _ = check_greeting(&bytes);
        }
    }
}
