//! Every flag of `vllm serve` 0.32, and Glassbox's own: one entry each, in vLLM's order.
//!
//! The order decides how an ambiguous abbreviation lists its candidates. A flag is built, and then
//! has a help text and a reader in `settings`; or it is a hint that changes nothing here, which is
//! said at start; or it would change results or hardware, and is refused with the reason unless it
//! asks for what happens anyway (`--tensor-parallel-size 1`).

mod adapters;
mod batch;
mod bench;
mod bench_common;
mod bench_data;
mod bench_engine;
mod cache;
mod client;
mod command;
mod engine;
mod frontend;
mod glassbox;
mod model;
mod options;
mod parallel;
mod scheduler;

pub(super) use command::{BENCHES, COMMANDS, Command, SERVE};

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
    /// Any number of texts.
    AnyTexts,
    /// A text, or nothing at all for `true`.
    MaybeText,
    /// A text; each occurrence adds one.
    Append,
    /// One or more integers.
    Ints,
    /// A text in any case, with dashes or underscores.
    Name,
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
    /// Accepted, since it changes no result; said once at start, with the reason.
    Hint {
        why: &'static str,
    },
    /// Known, but only what happens anyway may be asked for.
    Refused {
        why: &'static str,
    },
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// With its dashes.
    pub name: &'static str,
    /// A short spelling that stands before the name.
    pub letter: Option<&'static str>,
    /// Other spellings, mostly short ones.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub optional: bool,
    /// Empty when any value goes.
    pub choices: &'static [&'static str],
    pub default: Default,
    /// Other values that ask for what happens anyway.
    pub same: &'static [&'static str],
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

    const fn letter(mut self, letter: &'static str) -> Self {
        self.letter = Some(letter);
        self
    }

    const fn same(mut self, same: &'static [&'static str]) -> Self {
        self.same = same;
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
        let mut all: Vec<String> = self.letter.iter().map(|&letter| letter.to_owned()).collect();
        all.push(self.name.to_owned());
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
    Flag {
        name,
        letter: None,
        aliases: &[],
        kind,
        optional: false,
        choices: &[],
        default,
        same: &[],
        status,
    }
}

const fn later(name: &'static str, kind: Kind, default: Default, why: &'static str) -> Flag {
    let mut flag = flag(name, kind, default);
    flag.status = Status::Refused { why };
    flag
}

const fn hint(name: &'static str, kind: Kind, default: Default, why: &'static str) -> Flag {
    let mut flag = flag(name, kind, default);
    flag.status = Status::Hint { why };
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

// Why a flag is refused or changes nothing; each ends the sentence "not supported: …" or "changes
// nothing: …".
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
const LORA_ADAPTERS: &str = "Glassbox serves no LoRA adapters";
const ONE_PROCESS: &str = "one process with a thread for each core reads, renders and computes";
const NEVER_WAITS: &str = "the engine never waits for a reply to be written";
const MEDIA_DATA: &str = "prompts are text; Glassbox serves no media, adapters or embeddings";
const DOWNLOADS: &str =
    "no data set is downloaded; give a file with --dataset-name custom or sharegpt";
const IN_MEMORY: &str = "replies are kept in memory until they are written";
const NO_METRICS: &str = "a batch ends with its last reply, and /metrics with it";
const ENGINE_ALONE: &str = "token ids go to the engine and come back, whatever this says";
const STREAMS: &str = "without streams there are no times to measure";
const CHECKED_TLS: &str = "certificates are always checked";
const NO_PLOTS: &str = "Glassbox draws no plots; --save-detailed has the data";
const NO_GRPC: &str = "Glassbox speaks HTTP only";
