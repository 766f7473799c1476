//! Logits that the host wants, on their way home: while it samples from some rows, those after them
//! are copied.

use super::driver::{Device, Event, Failure, Pinned, Span, Stream};
use super::step::Want;
use std::sync::Arc;

/// Rows that are copied and waited for together.
const ROWS: usize = 8;

/// A buffer of two halves, which are filled and handed out in turns. It serves one group of wanted
/// rows at a time.
pub(super) struct Logits {
    halves: [Half; 2],
    /// Of a half.
    rows: usize,
    vocab: usize,
    /// The row of the group from which on nothing was asked for.
    next: usize,
    /// How many rows of logits were asked for, and how many of those were handed out.
    asked: usize,
    taken: usize,
}

struct Half {
    host: Pinned<f32>,
    /// All of it is.
    here: Event,
}

impl Logits {
    /// For groups of up to `most` rows.
    pub fn new(device: &Arc<Device>, most: usize, vocab: usize) -> Result<Self, Failure> {
        let rows = most.min(ROWS);
        let half = || -> Result<Half, Failure> {
            let host = Pinned::new(device, rows * vocab)?;
            // The engine waits for it between two rows: it is to go on at once.
            Ok(Half { host, here: Event::untimed(device)? })
        };
        let halves = [half()?, half()?];
        Ok(Self { halves, rows, vocab, next: 0, asked: 0, taken: 0 })
    }

    /// Asks for the first rows of a group of which this is wanted, and whose logits are the rows of
    /// `from` once `stream` comes here. Nobody writes to them before all are handed out.
    ///
    /// # Panics
    /// When rows of another group were not handed out: a step whose logits are wanted is collected
    /// before others are submitted.
    pub fn begin(
        &mut self,
        stream: &Stream,
        from: Span<f32>,
        wants: &[Want],
    ) -> Result<(), Failure> {
        assert_eq!(self.taken, self.asked, "all logits of a step are handed out before the next");
        (self.next, self.asked, self.taken) = (0, 0, 0);
        self.fill(stream, from, wants)?;
        self.fill(stream, from, wants)
    }

    /// The next row of logits of the group, in the order of its rows; the rest as in
    /// [`Logits::begin`].
    pub fn take(
        &mut self,
        stream: &Stream,
        from: Span<f32>,
        wants: &[Want],
    ) -> Result<&mut [f32], Failure> {
        let (half, row) = (self.taken / self.rows, self.taken % self.rows);
        if row == 0 {
            if half > 0 {
                // Nobody looks at the one before any more.
                self.fill(stream, from, wants)?;
            }
            self.halves[half % 2].here.wait()?;
        }
        self.taken += 1;
        Ok(&mut self.halves[half % 2].host[row * self.vocab..][..self.vocab])
    }

    /// Asks for as many rows as a half holds, or what is left.
    fn fill(&mut self, stream: &Stream, from: Span<f32>, wants: &[Want]) -> Result<(), Failure> {
        // Whole halves were asked for before, unless that was all there is.
        let half = &mut self.halves[self.asked / self.rows % 2];
        let wanted = (self.next..wants.len()).filter(|&row| wants[row] == Want::Logits);
        let mut filled = 0;
        for row in wanted.take(self.rows) {
            let logits = from.part(row * self.vocab, self.vocab);
            // SAFETY: waited for before it is handed out.
            unsafe { stream.download(logits, &mut half.host, filled * self.vocab)? };
            filled += 1;
            self.next = row + 1;
        }
        self.asked += filled;
        if filled > 0 { half.here.record(stream) } else { Ok(()) }
    }
}
