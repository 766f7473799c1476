//! One generation as the scheduler sees it.

use crate::kv::{KvCache, Owner, SequenceBlocks};
use crate::types::{RequestId, Token};
use std::ops::Deref;
use std::sync::Arc;

/// Where the engine keeps a sequence; free slots are used again.
pub type Slot = usize;

/// What is to come of a prompt's KV from another server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoteKv {
    /// Nothing: the prompt is computed here.
    #[default]
    None,
    /// All that is not cached here, once there are blocks for it.
    Wanted,
    /// It is being written into the sequence's blocks.
    Pulling,
    /// It is there, and the sequence has not taken part in a step since.
    Pulled,
}

/// The tokens of one generation and how far they have been computed.
#[derive(Debug)]
pub struct Sequence {
    pub id: RequestId,
    /// Lower is sooner.
    pub priority: i64,
    /// The prompt, then what was sampled.
    pub tokens: SequenceTokens,
    pub prompt_len: usize,
    /// Mixed into the first block's hash.
    pub salt: Option<Arc<str>>,
    /// Named in the events of the blocks that it stores.
    pub session: Option<Arc<str>>,
    /// Events tell of the blocks too that it finds in the cache.
    pub reports_prefix: bool,
    /// Whether cached blocks may stand in for computing: not when the prompt's logits are wanted.
    pub may_hit: bool,
    /// Tokens whose KV is in the cache.
    pub computed: usize,
    /// Prompt tokens that the prefix cache spared when the sequence was last admitted.
    pub cached: usize,
    /// Prompt tokens that came from another server.
    pub pulled: usize,
    pub remote: RemoteKv,
    pub blocks: SequenceBlocks,
    /// How often it lost its blocks.
    pub preemptions: u32,
}

/// A prompt and what was sampled after it. Many generations of one prompt may wait, and share it
/// until they have something of their own.
#[derive(Debug)]
pub struct SequenceTokens {
    prompt: Arc<[Token]>,
    /// Empty until something was sampled.
    all: Vec<Token>,
    max_tokens: usize,
}

impl SequenceTokens {
    pub fn push(&mut self, token: Token) {
        if self.all.is_empty() {
            self.all.reserve_exact(self.prompt.len() + self.max_tokens);
            self.all.extend_from_slice(&self.prompt);
        }
        self.all.push(token);
    }
}

impl Deref for SequenceTokens {
    type Target = [Token];

    fn deref(&self) -> &[Token] {
        if self.all.is_empty() { &self.prompt } else { &self.all }
    }
}

impl Sequence {
    /// A sequence of which nothing is computed. `max_tokens` bounds what it will sample.
    pub fn new(id: RequestId, prompt: Arc<[Token]>, max_tokens: usize) -> Self {
        Self {
            id,
            priority: 0,
            prompt_len: prompt.len(),
            tokens: SequenceTokens { prompt, all: Vec::new(), max_tokens },
            salt: None,
            session: None,
            reports_prefix: false,
            may_hit: true,
            computed: 0,
            cached: 0,
            pulled: 0,
            remote: RemoteKv::None,
            blocks: SequenceBlocks::default(),
            preemptions: 0,
        }
    }

    pub fn prompt(&self) -> &[Token] {
        &self.tokens.prompt
    }

    /// What was sampled so far.
    pub fn output(&self) -> &[Token] {
        &self.tokens[self.prompt_len..]
    }

    /// How many leading blocks are cached, but for what its last token is in: at least one token is
    /// always computed, since its logits are what a step is for.
    pub fn find_prefix(&mut self, kv: &mut KvCache) -> usize {
        if !self.may_hit {
            return 0;
        }
        let limit = (self.tokens.len() - 1) / kv.block_size();
        kv.find_prefix(&mut self.blocks, &self.tokens, self.salt.as_deref(), limit)
    }

    /// Takes its first `hits` blocks, which are cached, and free ones for the rest of `len` tokens,
    /// which are there.
    pub fn take_blocks(&mut self, kv: &mut KvCache, hits: usize, len: usize) {
        kv.take_prefix(&mut self.blocks, hits);
        let owner = Owner { salt: self.salt.as_ref(), session: self.session.as_ref() };
        if self.reports_prefix {
            kv.report_reuse(&self.blocks, &self.tokens, owner, hits);
        }
        let grown = kv.grow(&mut self.blocks, len);
        assert!(grown, "the blocks were counted");
        self.cached = hits * kv.block_size();
    }

    /// Puts the blocks that its first `computed` tokens fill into the prefix index.
    pub fn store(&mut self, kv: &mut KvCache, computed: usize) {
        let owner = Owner { salt: self.salt.as_ref(), session: self.session.as_ref() };
        kv.store_computed(&mut self.blocks, &self.tokens, owner, computed);
    }

    /// Known tokens that are not computed.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }
}
