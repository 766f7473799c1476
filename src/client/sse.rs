//! Server-sent events out of the pieces in which a body arrives.

use std::ops::Range;

/// Collects a stream until whole events are there.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// Where the event begins that was not found yet.
    start: usize,
    /// Up to here no event ends.
    searched: usize,
    /// The data of the event that was found last.
    found: Option<Range<usize>>,
}

impl Events {
    /// Takes one more piece, once all events of earlier ones are taken.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Looks for the next whole event; comments and other fields are passed over.
    pub fn find(&mut self) -> bool {
        while self.found.is_none() {
            let Some((end, after)) = self.end_of_event() else { return false };
            let event = std::mem::replace(&mut self.start, after)..end;
            self.searched = after;
            if let Some(data) = self.buffer[event.clone()].strip_prefix(b"data:") {
                let space = usize::from(data.first() == Some(&b' '));
                self.found = Some(event.start + b"data:".len() + space..end);
            }
        }
        true
    }

    /// The data of the event that was found.
    pub fn take(&mut self) -> Option<&[u8]> {
        self.found.take().map(|data| &self.buffer[data])
    }

    /// Where the event ends and where the next one begins.
    fn end_of_event(&mut self) -> Option<(usize, usize)> {
        while let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            let at = self.searched + at;
            match &self.buffer[at + 1..] {
                [b'\n', ..] => return Some((self.trimmed(at), at + 2)),
                [b'\r', b'\n', ..] => return Some((self.trimmed(at), at + 3)),
                // The next piece may bring the empty line.
                [] | [b'\r'] => {
                    self.searched = at;
                    return None;
                }
                _ => self.searched = at + 1,
            }
        }
        self.searched = self.buffer.len();
        None
    }

    fn trimmed(&self, end: usize) -> usize {
        let carriage = end > self.start && self.buffer[end - 1] == b'\r';
        end - usize::from(carriage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for piece in pieces {
            events.push(piece);
            while events.find() {
                let data = events.take().expect("it was found");
                found.push(String::from_utf8_lossy(data).into_owned());
            }
        }
        found
    }

    #[test]
    fn data_is_found_and_comments_are_not() {
        let text = b": keep-alive\n\ndata: {\"a\":1}\n\ndata:x\r\n\r\nevent: e\n\ndata: [DONE]\n\n";
        assert_eq!(read(&[text]), ["{\"a\":1}", "x", "[DONE]"]);
        assert!(read(&[b"data: half"]).is_empty());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            texts in proptest::collection::vec("[a-z:{}\" ]{0,9}", 0..8),
            cuts in proptest::collection::vec(0usize..200, 0..8),
            carriage in any::<bool>(),
        ) {
            let end = if carriage { "\r\n\r\n" } else { "\n\n" };
            let stream: String = texts.iter().map(|text| format!("data: {text}{end}")).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> =
                cuts.windows(2).map(|ends| &stream.as_bytes()[ends[0]..ends[1]]).collect();
            prop_assert_eq!(read(&pieces), texts);
        }
    }
}
