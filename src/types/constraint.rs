//! What keeps the output of a generation within a grammar.

use super::Token;

/// Says which tokens may come next. It belongs to one generation; the engine calls it between
/// tokens and never from two threads at once.
pub trait TokenConstraint: Send {
    /// Works out the mask of the next token, unless that is done. The engine calls it while the
    /// device computes.
    fn prepare(&mut self);

    /// Bit `i % 32` of word `i / 32` is set when token `i` may come next; tokens beyond the last
    /// word may not. `None`: every token may, or [`Self::prepare`] was not called.
    fn mask(&self) -> Option<&[u32]>;

    /// Takes the token that was sampled. False when it does not fit: the generation has failed.
    fn accept(&mut self, token: Token) -> bool;
}
