//! The subcommands and the groups of flags that each of them takes.

use super::*;

/// A titled part of the help.
#[derive(Debug)]
pub(in crate::config) struct Group {
    pub title: &'static str,
    pub about: &'static str,
    pub flags: &'static [Flag],
}

const fn group(title: &'static str, about: &'static str, flags: &'static [Flag]) -> Group {
    Group { title, about, flags }
}

/// A subcommand.
#[derive(Debug)]
pub(in crate::config) struct Command {
    /// The words that call it.
    pub name: &'static str,
    /// What stands behind them in its usage line.
    pub usage: &'static str,
    pub about: &'static str,
    /// What stands alone on its line: a model, for some.
    pub positional: Option<&'static str>,
    /// Spellings of the flags that must be given.
    pub required: &'static [&'static str],
    own: &'static [Group],
    /// Whether it takes the flags of the engine too.
    engine: bool,
}

impl Command {
    /// Its groups, in the order of vLLM's help.
    pub fn groups(&self) -> impl Iterator<Item = &'static Group> {
        let engine: &'static [Group] = if self.engine { ENGINE } else { &[] };
        self.own.iter().chain(engine)
    }

    /// Its flags, in order; the first of two with one name counts.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.groups().flat_map(|group| group.flags)
    }

    /// The flag with this exact name.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags().find(|flag| flag.name == name)
    }
}

const ENGINE: &[Group] = &[
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

const PROCESS: Group = group("options", "The process itself.", options::PROCESS);

const REQUESTS: Group = group("options", "The process itself.", options::REQUESTS);

/// The server.
pub(in crate::config) static SERVE: Command = Command {
    name: "serve",
    usage: "[model_tag] [options]",
    about: "Serve a model to OpenAI clients over HTTP. Without a model: Qwen/Qwen3-0.6B.",
    positional: Some("model_tag"),
    required: &[],
    own: &[
        group("options", "The process itself.", options::SERVE),
        PROCESS,
        REQUESTS,
        group("Frontend", "The HTTP server and the OpenAI API.", frontend::API),
        group("Frontend", "The HTTP server and the OpenAI API.", frontend::SERVER),
    ],
    engine: true,
};

/// All subcommands, in the order of vLLM's help; last the one that vLLM has not.
pub(in crate::config) static COMMANDS: &[&Command] = &[
    &Command {
        name: "chat",
        usage: "[options]",
        about: "Talk with the model of a running server.",
        positional: None,
        required: &[],
        own: &[group("options", "Options.", client::CHAT)],
        engine: false,
    },
    &Command {
        name: "complete",
        usage: "[options]",
        about: "Let the model of a running server go on with prompts.",
        positional: None,
        required: &[],
        own: &[group("options", "Options.", client::COMPLETE)],
        engine: false,
    },
    &SERVE,
    &Command {
        name: "bench",
        usage: "<bench_type> [options]",
        about: "Measure a running server, or the engine alone.",
        positional: None,
        required: &[],
        own: &[],
        engine: false,
    },
    &Command {
        name: "collect-env",
        usage: "",
        about: "Show what a bug report should say about this machine.",
        positional: None,
        required: &[],
        own: &[],
        engine: false,
    },
    &Command {
        name: "run-batch",
        usage: "-i INPUT.jsonl -o OUTPUT.jsonl --model <model>",
        about: "Answer the requests of a file.",
        positional: None,
        required: &["-i/--input-file", "-o/--output-file"],
        own: &[
            PROCESS,
            REQUESTS,
            group("BatchFrontend", "The files and the OpenAI API.", frontend::API),
            group("BatchFrontend", "The files and the OpenAI API.", batch::BATCH),
        ],
        engine: true,
    },
    &Command {
        name: "healthcheck",
        usage: "[options]",
        about: "Ask a running server whether it is well: the exit code is 0, or else 1.",
        positional: None,
        required: &[],
        own: &[group("options", "Options.", client::HEALTHCHECK)],
        engine: false,
    },
];

/// The kinds of `bench`.
pub(in crate::config) static BENCHES: &[&Command] = &[
    &Command {
        name: "bench latency",
        usage: "[options]",
        about: "Measure how long the engine takes for one batch.",
        positional: None,
        required: &[],
        own: &[group("options", "What is measured.", bench::LATENCY), PROCESS],
        engine: true,
    },
    &Command {
        name: "bench serve",
        usage: "[options]",
        about: "Measure a running server under load.",
        positional: None,
        required: &[],
        own: &[
            group("options", "What is measured.", bench::SERVE),
            group("data sets", "Where prompts come from.", bench::DATASETS),
            group("sampling parameters", "What requests ask for.", bench::SAMPLING),
        ],
        engine: false,
    },
    &Command {
        name: "bench throughput",
        usage: "[options]",
        about: "Measure how many requests the engine gets done.",
        positional: None,
        required: &[],
        own: &[group("options", "What is measured.", bench::THROUGHPUT), PROCESS, REQUESTS],
        engine: true,
    },
];
