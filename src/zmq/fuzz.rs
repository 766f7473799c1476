//! Doors for the fuzz targets under `tests/fuzz`: what peers send, by itself.

use super::zmtp;
use bytes::BytesMut;

/// The frames in bytes that come piece by piece, and what was wrong after them.
pub fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut input, mut found) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match zmtp::take_frame(&mut input, zmtp::SHORT_FRAME) {
                Ok(Some(frame)) => found.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(violation) => {
                    found.push(violation.to_string());
                    return found;
                }
            }
        }
    }
    found
}

/// Reads a greeting and a READY command.
pub fn commands(bytes: &[u8]) {
    let _ = zmtp::check_greeting(bytes);
    let _ = zmtp::check_ready(bytes, &["SUB", "XSUB"]);
}
