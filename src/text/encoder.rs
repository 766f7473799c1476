//! Text to tokens; but for short texts off the async threads.

use super::vocabulary::{UnsupportedTokenizer, Vocabulary};
use crate::config::RequestBounds;
use crate::types::Token;
use std::collections::HashSet;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::available_parallelism;
use tokenizers::Tokenizer;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Texts of at most so many bytes are tokenised where they are: some ten microseconds, less than
/// it takes to wake another thread and to be woken by it.
const SHORT_TEXT: usize = 512;
/// Texts of more bytes wait in a queue of their own.
const LONG_TEXT: usize = 16 << 10;
/// With a limit on tokens, so many bytes a token are looked at first. Real text has about four.
const FIRST_LOOK: usize = 8;
/// Where a text was cut, its last tokens may not be those of the whole.
const CUT_MARGIN: usize = 64;

/// Why text was not tokenised. But for the first, no text of a client should lead to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There is none; the message is vLLM's.
    #[error("Tokenizer not available when `skip_tokenizer_init=True`")]
    NoTokenizer,
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
    #[error("the tokenizer panicked")]
    Panicked,
}

/// Why `bad_words` cannot be used; the messages are vLLM's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWordsError {
    #[error("bad_words entries must tokenize to at least one token.")]
    Empty,
    #[error("Too many bad words after tokenization: {}. The max number is {max}.", max + 1)]
    TooMany { max: usize },
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A tokenised text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// At most one more than the limit, when there was one.
    pub tokens: Vec<Token>,
    /// Whether the text has more tokens than these.
    pub truncated: bool,
}

/// Tokenises, all but the shortest texts on blocking threads; a cheap handle. Long texts have fewer
/// threads, and their own queue, so that others never wait behind them.
#[derive(Clone)]
pub struct Encoder {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` where only token ids are served.
    tokenizer: Option<Tokenizer>,
    vocabulary: Arc<Vocabulary>,
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Encoder {
    /// Padding and truncation that tokenizer.json may ask for are switched off, as vLLM does.
    pub fn new(mut tokenizer: Tokenizer) -> Result<Self, UnsupportedTokenizer> {
        let vocabulary = Arc::new(Vocabulary::new(&tokenizer)?);
        tokenizer.with_padding(None);
        // Only setting a length can fail.
        let _ = tokenizer.with_truncation(None);
        Ok(Self::with(Some(tokenizer), vocabulary))
    }

    /// One without a tokenizer: it tokenises nothing, and no token has text.
    pub fn without_tokenizer() -> Self {
        Self::with(None, Arc::default())
    }

    fn with(tokenizer: Option<Tokenizer>, vocabulary: Arc<Vocabulary>) -> Self {
        let threads = available_parallelism().map_or(1, NonZero::get);
        let shared = Shared {
            tokenizer,
            vocabulary,
            short: Arc::new(Semaphore::new(threads)),
            long: Arc::new(Semaphore::new((threads / 2).max(1))),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether there is a tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        self.shared.tokenizer.is_some()
    }

    /// For what cannot be done without a tokenizer.
    ///
    /// # Errors
    /// When there is none.
    pub fn check(&self) -> Result<(), EncodeError> {
        self.shared.tokenizer().map(drop)
    }

    /// The table from tokens to text.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.shared.vocabulary
    }

    /// Tokenises one text. With `max_tokens`, work stops soon after so many: what is returned is
    /// then the first `max_tokens + 1`.
    pub async fn encode(
        &self,
        text: String,
        add_special_tokens: bool,
        max_tokens: Option<usize>,
    ) -> Result<Encoded, EncodeError> {
        let length = text.len();
        self.run(length, move |shared| shared.encode(&text, add_special_tokens, max_tokens)).await?
    }

    /// Tokenises `bad_words`, each as it stands at the start of a text and, when that is one
    /// other token sequence of equal length, after a space.
    pub async fn encode_bad_words(
        &self,
        words: Vec<String>,
    ) -> Result<Vec<Vec<Token>>, BadWordsError> {
        let length = words.iter().map(String::len).sum();
        self.run(length, move |shared| shared.encode_bad_words(words)).await?
    }

    /// The text of a sequence, as [`Vocabulary::decode`].
    pub fn decode(&self, tokens: &[Token], skip_special_tokens: bool) -> String {
        self.shared.vocabulary.decode(tokens, skip_special_tokens)
    }

    /// The vocabulary's own spelling of a token (`Ġhello`); `None` for an unknown id.
    pub fn token_piece(&self, token: Token) -> Option<String> {
        self.shared.tokenizer.as_ref()?.id_to_token(token)
    }

    /// See [`Vocabulary::max_chars_per_token`].
    pub fn max_chars_per_token(&self) -> usize {
        self.shared.vocabulary.max_chars_per_token()
    }

    /// Runs work on `length` bytes of text, on a blocking thread unless there is little of it. It
    /// goes on when nobody waits for it any more, and keeps its place until then.
    async fn run<T: Send + 'static>(
        &self,
        length: usize,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, EncodeError> {
        if length <= SHORT_TEXT {
            let done = catch_unwind(AssertUnwindSafe(|| work(&self.shared)));
            return done.map_err(|_| EncodeError::Panicked);
        }
        let shared = self.shared.clone();
        let queue = if length > LONG_TEXT { &shared.long } else { &shared.short };
        let place = queue.clone().acquire_owned().await;
        let done = spawn_blocking(move || {
            let _place = place;
            work(&shared)
        });
        done.await.map_err(|_| EncodeError::Panicked)
    }
}

impl Shared {
    fn tokenizer(&self) -> Result<&Tokenizer, EncodeError> {
        self.tokenizer.as_ref().ok_or(EncodeError::NoTokenizer)
    }

    fn encode(
        &self,
        text: &str,
        add_special_tokens: bool,
        max_tokens: Option<usize>,
    ) -> Result<Encoded, EncodeError> {
        let limit = max_tokens.map_or(usize::MAX, |max| max.saturating_add(1));
        // A prefix that is too long already tells enough. It grows until it is, so that text of
        // uncommonly long tokens costs at most a third more.
        let mut look = limit.saturating_add(CUT_MARGIN).saturating_mul(FIRST_LOOK);
        while look < text.len() {
            let prefix = &text[..text.floor_char_boundary(look)];
            let mut tokens = self.tokens(prefix, add_special_tokens)?;
            if tokens.len() >= limit + CUT_MARGIN {
                tokens.truncate(limit);
                return Ok(Encoded { tokens, truncated: true });
            }
            look = look.saturating_mul(4);
        }
        let mut tokens = self.tokens(text, add_special_tokens)?;
        let truncated = tokens.len() > limit;
        tokens.truncate(limit);
        Ok(Encoded { tokens, truncated })
    }

    fn encode_bad_words(&self, words: Vec<String>) -> Result<Vec<Vec<Token>>, BadWordsError> {
        let max = RequestBounds::get().bad_words;
        let mut bad_words: Vec<Vec<Token>> = Vec::new();
        let mut seen = HashSet::new();
        for word in words.iter().filter(|word| seen.insert(word.as_str())) {
            // As Python's str.lstrip, which also counts the four separators as spaces.
            let word = word.trim_start_matches(|c: char| {
                c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
            });
            let bare = self.tokens(word, false)?;
            let Some(&first) = bare.first() else { return Err(BadWordsError::Empty) };
            let spaced = self.tokens(&format!(" {word}"), false)?;
            let differs = spaced.len() == bare.len() && spaced[0] != first;
            bad_words.push(bare);
            if differs {
                bad_words.push(spaced);
            }
            if bad_words.len() > max {
                return Err(BadWordsError::TooMany { max });
            }
        }
        Ok(bad_words)
    }

    fn tokens(&self, text: &str, add_special_tokens: bool) -> Result<Vec<Token>, EncodeError> {
        let encoding = self.tokenizer()?.encode_fast(text, add_special_tokens);
        let encoding = encoding.map_err(|error| EncodeError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}
