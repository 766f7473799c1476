//! From the command line, a configuration file and the environment to [`Settings`].
//!
//! Two stages. The first reads flags with vLLM's grammar and knows nothing of what they mean:
//! `rewrite` (what vLLM does before argparse) and `grammar` (argparse), over the one `table` of
//! flags. The second, `resolve`, checks values and groups them. What needs the model's dimensions
//! comes when these are known: [`limits`] and [`memory`].

mod batch;
mod bench;
mod bounds;
mod client;
mod env;
mod environ;
mod exit;
mod grammar;
mod graphs;
mod help;
mod host;
mod kv_events;
mod kv_transfer;
pub mod limits;
mod logging;
pub mod memory;
mod metrics;
mod otel;
mod parsers;
mod python;
mod reasoning;
mod resolve;
mod rewrite;
mod settings;
mod structured;
mod table;
mod transport;
mod typed;
mod value;
mod yaml;

pub use batch::RunBatchSettings;
pub use bench::{
    BenchLatencySettings, BenchServeSettings, BenchThroughputSettings, ChatApi, DataSet, FileData,
    Goodput, Lengths, PrefixData, RampUp, RandomData, SaveSettings, Traffic,
};
pub use bounds::RequestBounds;
pub use client::{ApiServer, ChatSettings, CompleteSettings};
pub use env::Env;
pub use exit::Exit;
pub use graphs::GraphSettings;
pub use host::DeviceMemory;
pub use kv_events::{EventAddress, EventEncoding, EventEndpoint, KvEventsSettings};
pub use kv_transfer::{
    AttnBackend, CpuAttnIsa, KvRole, KvTransferConfig, KvTransport, LoadFailurePolicy,
};
pub use metrics::{BucketFamily, MetricsSettings};
pub use otel::{
    BatchSettings, Compression, ExporterSettings, OtlpProtocol, RootSampler, SamplerSettings,
    SpanLimits, TlsFiles, TraceLevel, TracingSettings,
};
pub use parsers::ParserSettings;
pub use python::repr_float;
pub use reasoning::ReasoningSettings;
pub use settings::*;
pub use structured::StructuredOutputSettings;
pub use transport::{
    ClientCertificates, CorsSettings, Docs, TlsSettings, TransportLimits, TransportSettings,
};

use exit::Failure;
use grammar::Raw;
use table::{BENCHES, COMMANDS, Command};

/// The version of vLLM whose command line and API this is.
pub const VLLM_VERSION: &str = "0.32.0";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Invocation {
    Serve(Box<Settings>),
    Chat(ChatSettings),
    Complete(CompleteSettings),
    BenchServe(Box<BenchServeSettings>),
    BenchLatency(Box<BenchLatencySettings>),
    BenchThroughput(Box<BenchThroughputSettings>),
    RunBatch(Box<RunBatchSettings>),
    CollectEnv,
    /// The server's URL; `None` is the one that runs here.
    Healthcheck(Option<String>),
}

/// Reads the command line `args`, its program's path first.
///
/// # Errors
/// What to print and the code to exit with: after `--help` and `--version` too.
pub fn parse(args: &[String], env: Result<Env, String>) -> Result<Invocation, Exit> {
    let program = args.first().map_or("glassbox", |path| program_name(path));
    let usage = |message: String| Exit {
        code: 2,
        stdout: String::new(),
        stderr: format!("{}{program}: error: {message}\n", help::program_usage(program)),
    };
    match args.get(1).map(String::as_str) {
        None | Some("-h" | "--help") => Err(Exit::printing(help::program_help(program))),
        Some("-v" | "--version") => Err(Exit::printing(version(program))),
        Some(flag) if flag.starts_with('-') => {
            Err(usage(format!("unrecognized arguments: {}", args[1..].join(" "))))
        }
        Some("bench") => bench(program, &args[2..], env),
        Some(word) => match COMMANDS.iter().find(|command| command.name == word) {
            Some(command) => run(program, command, &args[2..], env),
            None => Err(usage(unknown_word("subparser", word, &help::names(), &help::REFUSED))),
        },
    }
}

/// The settings that a command line of `serve` asks for.
///
/// # Errors
/// As [`parse`]; another subcommand is an error too.
pub fn parse_serve(args: &[String], env: Result<Env, String>) -> Result<Settings, Exit> {
    match parse(args, env)? {
        Invocation::Serve(settings) => Ok(*settings),
        _ => Err(Exit { code: 2, stdout: String::new(), stderr: "not `serve`\n".to_owned() }),
    }
}

/// argparse's sentence about a word that is none, or why there is no such subcommand.
fn unknown_word(what: &str, word: &str, known: &[&str], refused: &[(&str, &str)]) -> String {
    match refused.iter().find(|(name, _)| *name == word) {
        Some((_, why)) => format!("argument {what}: '{word}' is not supported: {why}"),
        None => format!("argument {what}: {}", value::invalid_choice(word, known)),
    }
}

/// The last part of the path that the program was started by: `vllm` or `glassbox`.
fn program_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("glassbox")
}

/// Under the name `vllm`, what scripts expect of vLLM: a version alone on its line.
fn version(program: &str) -> String {
    if program == "vllm" {
        return format!("{VLLM_VERSION}\n");
    }
    format!("glassbox {} (vLLM {VLLM_VERSION} API)\n", env!("CARGO_PKG_VERSION"))
}

fn bench(program: &str, args: &[String], env: Result<Env, String>) -> Result<Invocation, Exit> {
    let own = COMMANDS.iter().find(|command| command.name == "bench");
    let own = own.expect("bench stands in the table");
    let fail = |message: String| Err(Failure::usage(message).into_exit(program, own));
    let kind = |command: &Command| command.name.trim_start_matches("bench ");
    match args.first().map(String::as_str) {
        Some("-h" | "--help") => Err(Exit::printing(help::bench_help(program, own))),
        None => fail("the following arguments are required: bench_type".to_owned()),
        Some(flag) if flag.starts_with('-') => {
            fail("the following arguments are required: bench_type".to_owned())
        }
        Some(word) => match BENCHES.iter().find(|command| kind(command) == word) {
            Some(command) => run(program, command, &args[1..], env),
            None => {
                let known: Vec<&str> = BENCHES.iter().map(|command| kind(command)).collect();
                fail(unknown_word("bench_type", word, &known, &help::REFUSED_BENCHES))
            }
        },
    }
}

/// Reads the arguments of one subcommand.
fn run(
    program: &str,
    command: &'static Command,
    args: &[String],
    env: Result<Env, String>,
) -> Result<Invocation, Exit> {
    let rewritten =
        rewrite::rewrite(command, args).map_err(|failure| failure.into_exit(program, command))?;
    let warnings: String = rewritten.warnings.iter().map(|line| format!("{line}\n")).collect();
    let fail = |failure: Failure| {
        let exit = failure.into_exit(program, command);
        Exit { stderr: warnings.clone() + &exit.stderr, ..exit }
    };
    let raw = grammar::parse(command, &rewritten.args).map_err(fail)?;
    if raw.help {
        let about = rewritten.help_about.as_deref();
        return Err(Exit::printing(help::command_help(program, command, about)));
    }
    let env = env.map_err(|message| fail(Failure::invalid(message)))?;
    invocation(command, &raw, env, rewritten.warnings)
        .map_err(|message| fail(Failure::invalid(message)))
}

/// The checked settings of a subcommand. The error is one sentence.
fn invocation(
    command: &'static Command,
    raw: &Raw,
    env: Env,
    warnings: Vec<String>,
) -> Result<Invocation, String> {
    Ok(match command.name {
        "chat" => Invocation::Chat(client::chat(raw, &env)),
        "complete" => Invocation::Complete(client::complete(raw, &env)),
        "bench serve" => Invocation::BenchServe(Box::new(bench::serve(raw, &env, warnings)?)),
        "bench latency" => Invocation::BenchLatency(Box::new(bench::latency(raw, env, warnings)?)),
        "bench throughput" => {
            Invocation::BenchThroughput(Box::new(bench::throughput(raw, env, warnings)?))
        }
        "run-batch" => Invocation::RunBatch(Box::new(batch::read(raw, env, warnings)?)),
        "collect-env" => Invocation::CollectEnv,
        "healthcheck" => Invocation::Healthcheck(client::healthcheck(raw)),
        _ => Invocation::Serve(Box::new(resolve::resolve(raw, env, warnings)?)),
    })
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
