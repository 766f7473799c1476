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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// A grammar gets so long to compile, but for patterns, whose limit operators may set. llguidance's
/// own limits end it sooner in all cases known.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// llguidance descends into a grammar by recursion. Only what is used of it costs memory.
const STACK: usize = 256 << 20;
/// The tables of one grammar may grow to so many states, of 1 to 2 kB each.
const MAX_LEXER_STATES: usize = 50_000;
/// Work on expressions for one mask, some tens of milliseconds at most: the engine waits for it.
const STEP_FUEL: u64 = 50_000;

/// Compilers beyond their time go on, for nothing can stop a thread: so many beside the others.
const MAX_LATE: usize = 2;

/// Why there is no grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// There can be none; vLLM's words where it has any.
    #[error("{0}")]
    Refused(String),
    /// All compilers have been at work for as long as a grammar gets.
    #[error("all compilers of grammars are busy")]
    Busy,
}

impl GrammarError {
    /// It could not be understood.
    pub(super) fn invalid(reason: impl std::fmt::Display) -> Self {
        Self::Refused(format!("Invalid grammar specification: {reason}"))
    }

    /// It is none, for a reason of its own.
    pub(super) fn said(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }

    /// llguidance refuses it.
    fn refused(reason: impl std::fmt::Display) -> Self {
        Self::Refused(format!("Grammar error: {reason}"))
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
    time_limit: Duration,
    /// Of patterns; `None`: for ever.
    regex_limit: Option<Duration>,
    /// Bounds how many are compiled at a time.
    places: Arc<Semaphore>,
    /// Bounds how many more may go on beyond their time, so that these do not keep the places.
    late: Arc<Semaphore>,
}

/// How compiling is bounded.
pub(super) struct Bounds {
    pub time: Duration,
    pub places: usize,
    pub late: usize,
}

impl Grammars {
    /// For the vocabulary that `tokens` gives, of which `eos` is the end token.
    pub fn new(
        tokens: impl Fn() -> Vec<TokenBytes> + Send + Sync + 'static,
        eos: Option<Token>,
        options: JsonOptions,
    ) -> Self {
        let threads = available_parallelism().map_or(1, NonZero::get);
        let bounds = Bounds { time: TIME_LIMIT, places: threads.div_ceil(2), late: MAX_LATE };
        Self::bounded(tokens, eos, options, bounds)
    }

    /// The same with other bounds.
    pub(super) fn bounded(
        tokens: impl Fn() -> Vec<TokenBytes> + Send + Sync + 'static,
        eos: Option<Token>,
        options: JsonOptions,
        bounds: Bounds,
    ) -> Self {
        let shared = Shared {
            tokens: Box::new(tokens),
            eos,
            options,
            factory: OnceLock::new(),
            cache: Mutex::default(),
            time_limit: bounds.time,
            regex_limit: Some(bounds.time),
            places: Arc::new(Semaphore::new(bounds.places)),
            late: Arc::new(Semaphore::new(bounds.late)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// With another limit of time for patterns; `None`: for ever. Before the first grammar.
    pub fn with_regex_limit(mut self, limit: Option<Duration>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.regex_limit = limit;
        }
        self
    }

    /// The grammar, if it was compiled lately.
    pub fn at_hand(&self, spec: &GrammarSpec) -> Option<CompiledGrammar> {
        self.shared.cache().get(&key(spec))
    }

    /// Compiles a grammar.
    ///
    /// # Errors
    /// A grammar that is invalid, too large, or takes too long; or no compiler had time for it.
    pub async fn compile(&self, spec: GrammarSpec) -> Result<CompiledGrammar, GrammarError> {
        let shared = self.shared.clone();
        let place = timeout(shared.time_limit, shared.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| GrammarError::Busy)?.map_err(|_| failed())?;
        // A task of its own: who asked may go away, and the work would go on uncounted.
        tokio::spawn(shared.supervise(spec, place)).await.map_err(|_| failed())?
    }
}

fn failed() -> GrammarError {
    GrammarError::refused("the compiler failed")
}

impl Shared {
    /// Compiles on a thread, and gives up waiting when its time is over.
    async fn supervise(
        self: Arc<Self>,
        spec: GrammarSpec,
        place: OwnedSemaphorePermit,
    ) -> Result<CompiledGrammar, GrammarError> {
        let (sender, mut receiver) = oneshot::channel();
        let (limit, refusal) = self.time_for(&spec);
        let (key, shared) = (key(&spec), self.clone());
        let work = move || drop(sender.send(shared.compile(&spec)));
        let thread = Builder::new().name("grammar".to_owned()).stack_size(STACK);
        thread.spawn(work).map_err(GrammarError::refused)?;
        let done = match limit {
            Some(limit) => timeout(limit, &mut receiver).await.ok(),
            None => Some((&mut receiver).await),
        };
        if let Some(grammar) = done {
            let grammar = grammar.map_err(|_| failed())??;
            self.cache().insert(key, grammar.clone());
            return Ok(grammar);
        }
        tokio::spawn(self.await_late(key, place, receiver));
        Err(refusal)
    }

    /// How long a grammar may take, and what is said when it takes longer.
    fn time_for(&self, spec: &GrammarSpec) -> (Option<Duration>, GrammarError) {
        let GrammarSpec::Regex(pattern) = spec else {
            let limit = self.time_limit.as_secs_f32();
            let refusal = GrammarError::refused(format!("compiling took more than {limit} s"));
            return (Some(self.time_limit), refusal);
        };
        let limit = self.regex_limit.unwrap_or_default().as_secs();
        let shown: String = pattern.chars().take(200).collect();
        let refusal = GrammarError::said(format!(
            "Failed to transform regex into a grammar: Regex compilation timed out after {limit}s. \
             The pattern may be too complex or contain constructs that cause exponential \
             state-space explosion (e.g. nested quantifiers). Pattern: {shown}"
        ));
        (self.regex_limit, refusal)
    }

    /// Waits for a compiler that is late. Its place is for others as soon as there is another one
    /// to be late at.
    async fn await_late(
        self: Arc<Self>,
        key: String,
        place: OwnedSemaphorePermit,
        mut receiver: oneshot::Receiver<Result<CompiledGrammar, GrammarError>>,
    ) {
        let grammar = tokio::select! {
            grammar = &mut receiver => grammar,
            _late = self.late.clone().acquire_owned() => {
                drop(place);
                receiver.await
            }
        };
        if let Ok(Ok(grammar)) = grammar {
            self.cache().insert(key, grammar);
        }
    }

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
