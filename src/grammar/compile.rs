//! Compiling grammars, off the async threads and off the engine's.

use super::build;
use super::cache::Cache;
use super::matcher::{GrammarMatcher, ReasoningEnd};
use super::spec::{GrammarSpec, JsonOptions};
use super::vocabulary::{self, TokenBytes};
use crate::types::Token;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{Matcher, ParserFactory};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// A grammar gets so long to compile. llguidance's own limits end it sooner in all cases known.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// llguidance descends into a grammar by recursion. Only what is used of it costs memory.
const STACK: usize = 256 << 20;
/// The tables of one grammar may grow to so many states, of 1 to 2 kB each.
const MAX_LEXER_STATES: usize = 50_000;
/// Work on expressions for one mask, some tens of milliseconds at most: the engine waits for it.
const STEP_FUEL: u64 = 50_000;

/// Why there is no grammar; vLLM's words where it has any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(String);

impl GrammarError {
    /// It could not be understood.
    pub(super) fn invalid(reason: impl std::fmt::Display) -> Self {
        Self(format!("Invalid grammar specification: {reason}"))
    }

    /// It is none, for a reason of its own.
    pub(super) fn said(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// llguidance refuses it.
    fn refused(reason: impl std::fmt::Display) -> Self {
        Self(format!("Grammar error: {reason}"))
    }
}

/// A grammar that generations can start from.
#[derive(Clone)]
pub struct CompiledGrammar {
    matcher: Matcher,
    vocabulary: TokEnv,
    broken: Arc<AtomicBool>,
}

impl CompiledGrammar {
    /// A generation's way through it. It may end with one of `stops`, once the grammar allows; with
    /// `reasoning` it begins behind that.
    pub fn start(&self, stops: Vec<Token>, reasoning: Option<ReasoningEnd>) -> GrammarMatcher {
        let (vocabulary, broken) = (self.vocabulary.clone(), self.broken.clone());
        GrammarMatcher::new(self.matcher.clone(), vocabulary, stops, reasoning, broken)
    }

    /// Whether its tables, which all its generations share, have reached a limit.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }
}

/// Compiles grammars for one vocabulary; a cheap handle.
#[derive(Clone)]
pub struct Grammars {
    shared: Arc<Shared>,
}

struct Shared {
    /// Gives the vocabulary when the first grammar comes.
    tokens: Box<dyn Fn() -> Vec<TokenBytes> + Send + Sync>,
    eos: Option<Token>,
    options: JsonOptions,
    factory: OnceLock<Result<ParserFactory, String>>,
    cache: Mutex<Cache>,
    /// Bounds how many are compiled at a time.
    places: Arc<Semaphore>,
}

impl Grammars {
    /// For the vocabulary that `tokens` gives, of which `eos` is the end token.
    pub fn new(
        tokens: impl Fn() -> Vec<TokenBytes> + Send + Sync + 'static,
        eos: Option<Token>,
        options: JsonOptions,
    ) -> Self {
        let threads = available_parallelism().map_or(1, NonZero::get);
        let shared = Shared {
            tokens: Box::new(tokens),
            eos,
            options,
            factory: OnceLock::new(),
            cache: Mutex::default(),
            places: Arc::new(Semaphore::new(threads.div_ceil(2))),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The grammar, if it was compiled lately.
    pub fn at_hand(&self, spec: &GrammarSpec) -> Option<CompiledGrammar> {
        self.shared.cache().get(&key(spec))
    }

    /// Compiles a grammar.
    ///
    /// # Errors
    /// A grammar that is invalid, too large, or takes too long.
    pub async fn compile(&self, spec: GrammarSpec) -> Result<CompiledGrammar, GrammarError> {
        let key = key(&spec);
        let failed = || GrammarError::refused("the compiler failed");
        let place = self.shared.places.clone().acquire_owned().await.map_err(|_| failed())?;
        let (sender, receiver) = oneshot::channel();
        let shared = self.shared.clone();
        let work = move || {
            // The place is given back when the work is done, not when nobody waits for it.
            let _place = place;
            let _ = sender.send(shared.compile(&spec));
        };
        let thread = Builder::new().name("grammar".to_owned()).stack_size(STACK);
        thread.spawn(work).map_err(GrammarError::refused)?;
        let grammar = match timeout(TIME_LIMIT, receiver).await {
            Ok(grammar) => grammar.map_err(|_| failed())??,
            Err(_) => {
                let limit = TIME_LIMIT.as_secs();
                return Err(GrammarError::refused(format!("compiling took more than {limit} s")));
            }
        };
        self.shared.cache().insert(key, grammar.clone());
        Ok(grammar)
    }
}

impl Shared {
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn factory(&self) -> Result<&ParserFactory, GrammarError> {
        let made = self.factory.get_or_init(|| {
            let eos = self.eos.unwrap_or(llguidance::toktrie::INVALID_TOKEN);
            let vocabulary = vocabulary::build((self.tokens)(), eos);
            let slices = SlicedBiasComputer::general_slices();
            let capabilities = InferenceCapabilities::default();
            let mut factory = ParserFactory::new(&vocabulary, capabilities, &slices)
                .map_err(|error| error.to_string())?;
            factory.quiet();
            let limits = factory.limits_mut();
            limits.max_lexer_states = MAX_LEXER_STATES;
            limits.step_lexer_fuel = STEP_FUEL;
            limits.verbose_errors = false;
            Ok(factory)
        });
        made.as_ref().map_err(GrammarError::refused)
    }

    fn compile(&self, spec: &GrammarSpec) -> Result<CompiledGrammar, GrammarError> {
        let factory = self.factory()?;
        let trie = factory.tok_env().tok_trie();
        let lookup =
            |text: &str| trie.get_special_token(text).or_else(|| trie.token_id(text.as_bytes()));
        let grammar = build::grammar(spec, &self.options, &lookup)?;
        let parser = factory.create_parser(grammar).or_else(|error| {
            build::second_reading(spec).map_or(Err(error), |grammar| factory.create_parser(grammar))
        });
        let parser = parser.map_err(|error| match spec {
            GrammarSpec::Regex(_) | GrammarSpec::Grammar(_) => GrammarError::refused(error),
            _ => GrammarError::refused(without_place(&error.to_string())),
        })?;
        let matcher = Matcher::new(Ok(parser));
        let vocabulary = factory.tok_env().clone();
        Ok(CompiledGrammar { matcher, vocabulary, broken: Arc::default() })
    }
}

/// What tells one grammar from another.
fn key(spec: &GrammarSpec) -> String {
    match spec {
        GrammarSpec::Json(schema) => format!("json {schema}"),
        GrammarSpec::JsonObject => "object".to_owned(),
        GrammarSpec::Regex(pattern) => format!("regex {pattern}"),
        GrammarSpec::Choice(texts) => format!("choice {texts:?}"),
        GrammarSpec::Grammar(source) => format!("grammar {source}"),
        GrammarSpec::Tag(tag) => format!("tag {tag}"),
    }
}

/// An error about Lark that no client has written: without where it is.
fn without_place(error: &str) -> &str {
    let first = error.lines().next().unwrap_or_default();
    match first.strip_prefix("at ").and_then(|rest| rest.split_once("): ")) {
        Some((_, reason)) => reason,
        None => error,
    }
}
