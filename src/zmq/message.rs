//! Messages that a socket waits for, put together from their frames.

use super::zmtp::{Frame, Violation};
use bytes::Bytes;

/// Most frames of a message; what is asked for has two.
const MOST_FRAMES: usize = 16;

/// The frames of a message so far.
#[derive(Default)]
pub struct Frames(Vec<Bytes>);

impl Frames {
    /// Adds a frame; gives the message once that was its last.
    ///
    /// # Errors
    /// A message of too many frames.
    pub fn add(&mut self, frame: Frame) -> Result<Option<Vec<Bytes>>, Violation> {
        if self.0.len() >= MOST_FRAMES {
            return Err(Violation::Command);
        }
        self.0.push(frame.body);
        Ok((!frame.more).then(|| std::mem::take(&mut self.0)))
    }
}
