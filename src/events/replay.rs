//! The ROUTER side of one connection: batches for those who missed some.

use super::core::{BATCH_BLOCKS, Core, Snapshot};
use super::stats;
use crate::zmq::{Frame, Frames, Role, Violation, WRITE, zmtp};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::rc::Rc;

/// The number of the message that ends an answer: -1.
const END: [u8; 8] = [0xff; 8];

/// A connection of the replay socket.
pub(super) struct Replay {
    core: Rc<Core>,
    frames: Frames,
    /// The first numbers asked for, oldest request first.
    asked: VecDeque<u64>,
    answer: Option<Answer>,
}

/// Consecutive batches, the next of which has this number.
struct Answer {
    next: u64,
    content: Content,
}

enum Content {
    Kept(std::vec::IntoIter<Bytes>),
    /// The resident blocks and then empty batches, `rest` in all.
    Snapshot {
        snapshot: Snapshot,
        blocks: usize,
        rest: u64,
        empty: Bytes,
    },
}

impl Answer {
    /// What was published from `start` on. When that is no longer kept: what it led to.
    fn new(core: &Core, start: u64) -> Self {
        let content = match core.kept_from(start) {
            Some(batches) => {
                stats::add(&core.stats.replays_kept, 1);
                Content::Kept(batches.into_iter())
            }
            None => {
                stats::add(&core.stats.replays_snapshot, 1);
                let snapshot = core.snapshot();
                let rest = core.next().saturating_sub(start);
                let batches = usize::try_from(rest).unwrap_or(usize::MAX).max(1);
                let blocks = snapshot.blocks().div_ceil(batches).max(BATCH_BLOCKS);
                Content::Snapshot { snapshot, blocks, rest, empty: core.empty_batch() }
            }
        };
        Self { next: start, content }
    }

    fn next(&mut self, core: &Core) -> Option<(u64, Bytes)> {
        let payload = match &mut self.content {
            Content::Kept(batches) => batches.next()?,
            Content::Snapshot { snapshot, blocks, rest, empty } => {
                *rest = rest.checked_sub(1)?;
                snapshot.next(core, *blocks).unwrap_or_else(|| empty.clone())
            }
        };
        self.next += 1;
        Some((self.next - 1, payload))
    }

    fn end(self) {
        if let Content::Snapshot { snapshot, .. } = self.content {
            snapshot.end();
        }
    }
}

/// Python's `int.from_bytes(.., "big")`, as far as numbers go.
fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().position(|&byte| byte != 0).map_or(&[][..], |at| &bytes[at..]);
    if digits.len() > 8 {
        return u64::MAX;
    }
    digits.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl Replay {
    pub fn new(core: Rc<Core>) -> Self {
        Self { core, frames: Frames::default(), asked: VecDeque::new(), answer: None }
    }

    /// A request is an empty frame and a number; what the first frame holds does not matter to
    /// vLLM.
    fn message(&mut self, frames: &[Bytes]) {
        match frames {
            [_, start] => self.asked.push_back(number(start)),
            frames => {
                stats::add(&self.core.stats.replays_invalid, 1);
                log::warn!("KV events: a replay request has 2 frames, not {}", frames.len());
            }
        }
    }
}

impl Role for Replay {
    const SOCKET: &'static str = "ROUTER";
    const PEERS: &'static [&'static str] = &["DEALER", "REQ", "ROUTER"];

    fn message_frame(&mut self, frame: Frame) -> Result<(), Violation> {
        if let Some(frames) = self.frames.add(frame)? {
            self.message(&frames);
        }
        Ok(())
    }

    /// One request after the other, so that a peer cannot pile them up here.
    fn listens(&self) -> bool {
        self.answer.is_none() && self.asked.is_empty()
    }

    fn fill(&mut self, out: &mut BytesMut) {
        let core = Rc::clone(&self.core);
        while out.len() < WRITE {
            if self.answer.is_none() {
                let Some(start) = self.asked.pop_front() else { return };
                self.answer = Some(Answer::new(&core, start));
            }
            match self.answer.as_mut().and_then(|answer| answer.next(&core)) {
                Some((number, payload)) => {
                    zmtp::put_message(out, &[b"", &core.topic, &number.to_be_bytes(), &payload]);
                }
                None => {
                    zmtp::put_message(out, &[b"", b"", &END, b""]);
                    self.answer.take().into_iter().for_each(Answer::end);
                }
            }
        }
    }
}
