//! The two byte forms in which vLLM hashes a block: canonical CBOR, and what CPython's pickle
//! (protocol 5) writes for the same tuple.
//!
//! The object is `(parent: bytes, tokens: tuple[int], extra: None | tuple[tuple])`. Pickle depends
//! on object identity in general; for this shape, whose parts are all different objects, the bytes
//! are always the same, and golden vectors made by CPython hold us to them.

use super::hash::ExtraKey;
use crate::types::Token;

/// Writes the canonical CBOR (RFC 8949, core deterministic) of one block into `out`.
pub fn cbor_block(out: &mut Vec<u8>, parent: &[u8], tokens: &[Token], extra: &[ExtraKey]) {
    cbor_head(out, 4, 3);
    cbor_head(out, 2, parent.len() as u64);
    out.extend_from_slice(parent);
    cbor_head(out, 4, tokens.len() as u64);
    for &token in tokens {
        cbor_head(out, 0, u64::from(token));
    }
    if extra.is_empty() {
        out.push(0xf6);
        return;
    }
    cbor_head(out, 4, extra.len() as u64);
    for key in extra {
        let parts = key.parts();
        cbor_head(out, 4, parts.len() as u64);
        for part in parts {
            cbor_text(out, part);
        }
    }
}

/// Writes the CBOR of a text string.
pub fn cbor_text(out: &mut Vec<u8>, text: &str) {
    cbor_head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A CBOR head: major type and argument in its shortest form.
fn cbor_head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..24 => out.push(major | n as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

const MEMOIZE: u8 = 0x94;
const FRAME: usize = 2 + 1 + 8;

/// Writes the pickle of one block into `out`.
pub fn pickle_block(out: &mut Vec<u8>, parent: &[u8], tokens: &[Token], extra: &[ExtraKey]) {
    pickle_begin(out);
    out.extend_from_slice(&[b'C', parent.len() as u8]);
    out.extend_from_slice(parent);
    out.push(MEMOIZE);
    pickle_tuple(out, tokens.len(), |out, i| pickle_int(out, tokens[i]));
    if extra.is_empty() {
        out.push(b'N');
    } else {
        pickle_tuple(out, extra.len(), |out, i| {
            let parts = extra[i].parts();
            pickle_tuple(out, parts.len(), |out, j| pickle_str(out, parts[j]));
        });
    }
    out.extend_from_slice(&[0x87, MEMOIZE]);
    pickle_end(out);
}

/// Writes the pickle of a string into `out`.
pub fn pickle_text(out: &mut Vec<u8>, text: &str) {
    pickle_begin(out);
    pickle_str(out, text);
    pickle_end(out);
}

fn pickle_begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0x80, 5, 0x95]);
    out.extend_from_slice(&[0; 8]);
}

/// Ends the pickle and fills in the length of its only frame (CPython starts a second one at
/// 64 KiB, which takes a block of over 13,000 tokens).
fn pickle_end(out: &mut Vec<u8>) {
    out.push(b'.');
    let length = (out.len() - FRAME) as u64;
    out[3..FRAME].copy_from_slice(&length.to_le_bytes());
}

/// A tuple of `n` parts: short ones have an opcode of their own, longer ones start with a mark.
fn pickle_tuple(out: &mut Vec<u8>, n: usize, mut part: impl FnMut(&mut Vec<u8>, usize)) {
    if n == 0 {
        return out.push(b')');
    }
    if n > 3 {
        out.push(b'(');
    }
    for i in 0..n {
        part(out, i);
    }
    out.push(if n > 3 { b't' } else { 0x84 + n as u8 });
    out.push(MEMOIZE);
}

fn pickle_int(out: &mut Vec<u8>, n: u32) {
    if let Ok(byte) = u8::try_from(n) {
        out.extend_from_slice(&[b'K', byte]);
    } else if let Ok(short) = u16::try_from(n) {
        out.push(b'M');
        out.extend_from_slice(&short.to_le_bytes());
    } else {
        out.push(b'J');
        out.extend_from_slice(&n.to_le_bytes());
    }
}

fn pickle_str(out: &mut Vec<u8>, text: &str) {
    if let Ok(short) = u8::try_from(text.len()) {
        out.extend_from_slice(&[0x8c, short]);
    } else {
        out.push(b'X');
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    }
    out.extend_from_slice(text.as_bytes());
    out.push(MEMOIZE);
}
