//! W3C Trace Context: which trace a request belongs to, out of raw header bytes.
//!
//! <https://www.w3.org/TR/trace-context-2/>. A malformed `traceparent` means no parent; a
//! malformed `tracestate` is dropped and the parent kept. Nothing here allocates but the members
//! of a `tracestate`, and these are read for sampled requests only.

use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};
use std::collections::HashSet;

/// `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub flags: TraceFlags,
}

/// Version, trace id, span id and flags, with the dashes between.
const LEN: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
/// A longer header is not looked at.
const MAX_LEN: usize = 512;

/// Reads a `traceparent`. Later versions may say more behind another dash; what is known of them
/// is read.
pub fn traceparent(header: &[u8]) -> Option<Parent> {
    if header.len() > MAX_LEN {
        return None;
    }
    let header = trim(header);
    let (known, rest) = header.split_at_checked(LEN)?;
    if ![2, 35, 52].iter().all(|&dash| known[dash] == b'-') {
        return None;
    }
    let version = hex(&known[..2])?;
    let later = match (version, rest.first()) {
        (0xff, _) => return None,
        (_, None) => true,
        (0, Some(_)) => false,
        (_, Some(next)) => *next == b'-',
    };
    let trace_id = TraceId::from(hex(&known[3..35])?);
    let span_id = SpanId::from(hex(&known[36..52])? as u64);
    let flags = TraceFlags::new(hex(&known[53..])? as u8);
    let valid = later && trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    valid.then_some(Parent { trace_id, span_id, flags })
}

/// At most 32 digits; upper case is not allowed.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

const MAX_STATE_LEN: usize = 8192;
const MAX_MEMBERS: usize = 32;

/// Reads a `tracestate`: all of its members, or none when one of them is malformed, stands twice,
/// or when there are too many.
pub fn tracestate(header: &[u8]) -> TraceState {
    members(header).unwrap_or_default()
}

fn members(header: &[u8]) -> Option<TraceState> {
    if header.len() > MAX_STATE_LEN {
        return None;
    }
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    // Empty members are allowed, and are none.
    for member in header.split(|&c| c == b',').map(trim).filter(|member| !member.is_empty()) {
        let equals = member.iter().position(|&c| c == b'=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || !seen.insert(key) || seen.len() > MAX_MEMBERS {
            return None;
        }
        members.push((str::from_utf8(key).ok()?, str::from_utf8(value).ok()?));
    }
    match members.is_empty() {
        true => Some(TraceState::NONE),
        false => TraceState::from_key_value(members).ok(),
    }
}

/// `key`, or `tenant@system`. The specification lets a system have 14 characters, OpenTelemetry's
/// type 13.
fn is_key(key: &[u8]) -> bool {
    let letter = |c: &u8| c.is_ascii_lowercase();
    let inner = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-*/".contains(c);
    let part = |part: &[u8], first: &dyn Fn(&u8) -> bool, max: usize| match part {
        [head, rest @ ..] => first(head) && rest.len() < max && rest.iter().all(inner),
        [] => false,
    };
    match key.iter().position(|&c| c == b'@') {
        None => part(key, &letter, 256),
        Some(at) => {
            let tenant = |c: &u8| letter(c) || c.is_ascii_digit();
            part(&key[..at], &tenant, 241) && part(&key[at + 1..], &letter, 13)
        }
    }
}

/// Printable, without `,` and `=`; the space at the end was trimmed.
fn is_value(value: &[u8]) -> bool {
    let inside = |c: &u8| (0x20..0x7f).contains(c) && !b",=".contains(c);
    (1..=256).contains(&value.len()) && value.iter().all(inside)
}

/// Without spaces and tabs around.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
