//! Every flag of `vllm serve` 0.32, and Glassbox's own: one entry each, in vLLM's order.
//!
//! The order decides how an ambiguous abbreviation lists its candidates. A flag is either built,
//! and then has a help text and a reader in `settings`, or it is recognised and refused with the
//! reason, unless it asks for what happens anyway (`--tensor-parallel-size 1`).

mod adapters;
mod cache;
mod engine;
mod frontend;
mod glassbox;
mod model;
mod options;
mod parallel;
mod scheduler;

/// How many values a flag takes and what they are. A flag that is `optional` also takes the empty
/// string and `None` for null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--x`.
    Switch,
    /// `--x` and `--no-x`.
    Toggle,
    Text,
    Int,
    /// An integer, or one with a decimal (`k m g t`) or binary (`K M G T`) suffix.
    HumanInt,
    /// The same, or `auto` for -1.
    LengthOrAuto,
    Float,
    /// One JSON value; dotted keys build an object.
    Json,
    /// One or more texts.
    Texts,
    /// A text, or nothing at all for `true`.
    MaybeText,
    /// A text; each occurrence adds one.
    Append,
}

/// What a flag is when it is not given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Default {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
}

/// Whether Glassbox acts on a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Built {
        help: &'static str,
    },
    /// Known, but only its default is accepted.
    Refused {
        why: &'static str,
    },
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// With its dashes.
    pub name: &'static str,
    /// Other spellings, mostly short ones.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub optional: bool,
    /// Empty when any value goes.
    pub choices: &'static [&'static str],
    pub default: Default,
    pub status: Status,
}

impl Flag {
    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn help(mut self, help: &'static str) -> Self {
        self.status = Status::Built { help };
        self
    }

    /// `--no-x` for a toggle `--x`.
    pub fn negation(&self) -> Option<String> {
        (self.kind == Kind::Toggle).then(|| format!("--no-{}", &self.name[2..]))
    }

    /// All spellings, in argparse's order.
    pub fn spellings(&self) -> Vec<String> {
        let mut all = vec![self.name.to_owned()];
        all.extend(self.negation());
        all.extend(self.aliases.iter().map(|&alias| alias.to_owned()));
        all
    }

    /// How argparse names the flag in an error.
    pub fn title(&self) -> String {
        self.spellings().join("/")
    }

    /// The placeholder of its value in a help text.
    pub fn metavar(&self) -> String {
        match self.choices {
            [] => self.name[2..].replace('-', "_").to_uppercase(),
            choices => format!("{{{}}}", choices.join(",")),
        }
    }
}

const fn flag(name: &'static str, kind: Kind, default: Default) -> Flag {
    let status = Status::Built { help: "" };
    Flag { name, aliases: &[], kind, optional: false, choices: &[], default, status }
}

const fn later(name: &'static str, kind: Kind, default: Default, why: &'static str) -> Flag {
    let mut flag = flag(name, kind, default);
    flag.status = Status::Refused { why };
    flag
}

const NONE: Default = Default::Null;
const ON: Default = Default::Bool(true);
const OFF: Default = Default::Bool(false);

const fn int(value: i64) -> Default {
    Default::Int(value)
}

const fn float(value: f64) -> Default {
    Default::Float(value)
}

const fn text(value: &'static str) -> Default {
    Default::Text(value)
}

// Why a flag is refused; each ends the sentence "not supported: …".
const NOT_YET: &str = "this part of vLLM is not in this version of Glassbox";
const ONE_DEVICE: &str = "a Glassbox process runs one model on one device; scale out by pods";
const OTHER_MODELS: &str = "it is for models that Glassbox does not serve (only dense Qwen3)";
const PYTHON: &str = "it steers Python code, and Glassbox runs none";
const KERNELS: &str = "it tunes vLLM's own kernels and compiler, which Glassbox does not use";
const QUANT: &str = "Glassbox keeps weights and KV cache in bfloat16";
const OFFLOAD: &str = "Glassbox does not move weights or KV blocks off the device";
const LOADER: &str =
    "Glassbox reads each tensor of a safetensors file once, as the backend packs it";
const SPEC: &str = "Glassbox does not speculate";
const NO_GRPC: &str = "Glassbox speaks HTTP only";

/// A titled part of the help.
pub(super) struct Group {
    pub title: &'static str,
    pub about: &'static str,
    pub flags: &'static [Flag],
}

const fn group(title: &'static str, about: &'static str, flags: &'static [Flag]) -> Group {
    Group { title, about, flags }
}

/// All groups, in the order of vLLM's help.
pub(super) static GROUPS: &[Group] = &[
    group("options", "The process itself.", options::OPTIONS),
    group("Frontend", "The HTTP server and the OpenAI API.", frontend::FRONTEND),
    group("ModelConfig", "The model and its tokenizer.", model::MODEL),
    group("LoadConfig", "How weights are found and read.", model::LOAD),
    group("AttentionConfig", "vLLM's attention kernels.", model::ATTENTION),
    group("MambaConfig", "State-space models.", model::MAMBA),
    group("StructuredOutputsConfig", "Grammars and reasoning.", model::STRUCTURED_OUTPUTS),
    group("ParallelConfig", "One model over many devices.", parallel::PARALLEL),
    group("CacheConfig", "The KV cache.", cache::CACHE),
    group("OffloadConfig", "Weights outside the device.", cache::OFFLOAD_GROUP),
    group("MultiModalConfig", "Images, audio and video.", adapters::MULTI_MODAL),
    group("LoRAConfig", "Adapters.", adapters::LORA),
    group("LoggingConfig", "What is logged.", scheduler::LOGGING),
    group("ObservabilityConfig", "Metrics and traces.", scheduler::OBSERVABILITY),
    group("SchedulerConfig", "Which requests take part in a step.", scheduler::SCHEDULER),
    group("CompilationConfig", "vLLM's graph capture.", engine::COMPILATION),
    group("KernelConfig", "vLLM's choice of kernels.", engine::KERNEL),
    group("VllmConfig", "Whole configurations as JSON.", engine::VLLM),
    group("Glassbox", "What vLLM has no name for.", glassbox::GLASSBOX),
];

/// All flags, in order.
pub(super) fn flags() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

/// The flag with this exact name.
///
/// # Panics
/// When the table has none: a mistake in the program.
pub(super) fn named(name: &str) -> &'static Flag {
    flags().find(|flag| flag.name == name).unwrap_or_else(|| panic!("no flag {name}"))
}
