//! From the command line, a configuration file and the environment to [`Settings`].
//!
//! Two stages. The first reads flags with vLLM's grammar and knows nothing of what they mean:
//! `rewrite` (what vLLM does before argparse) and `grammar` (argparse), over the one `table` of
//! flags. The second, `resolve`, checks values and groups them. What needs the model's dimensions
//! comes when these are known: [`limits`] and [`memory`].

mod bounds;
mod env;
mod exit;
mod grammar;
mod help;
mod host;
mod kv_events;
pub mod limits;
pub mod memory;
mod metrics;
mod otel;
mod parsers;
mod python;
mod resolve;
mod rewrite;
mod settings;
mod structured;
mod table;
mod transport;
mod value;
mod yaml;

pub use bounds::RequestBounds;
pub use env::Env;
pub use exit::Exit;
pub use host::HostMemory;
pub use kv_events::{EventAddress, EventEncoding, EventEndpoint, KvEventsSettings};
pub use metrics::{BucketFamily, MetricsSettings};
pub use otel::{
    BatchSettings, Compression, ExporterSettings, OtlpProtocol, RootSampler, SamplerSettings,
    SpanLimits, TlsFiles, TraceLevel, TracingSettings,
};
pub use parsers::ParserSettings;
pub use python::repr_float;
pub use settings::*;
pub use structured::StructuredOutputSettings;
pub use transport::{
    ClientCertificates, CorsSettings, Docs, TlsSettings, TransportLimits, TransportSettings,
};

use exit::Failure;

/// The version of vLLM whose command line and API this is.
pub const VLLM_VERSION: &str = "0.32.0";

/// Reads the command line `args`, its program's path first.
///
/// # Errors
/// What to print and the code to exit with: after `--help` and `--version` too.
pub fn parse(args: &[String], env: Result<Env, String>) -> Result<Settings, Exit> {
    let program = args.first().map_or("glassbox", |path| program_name(path));
    let usage = |message: String| Exit {
        code: 2,
        stdout: String::new(),
        stderr: format!("{}{program}: error: {message}\n", help::program_usage(program)),
    };
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(program, &args[2..], env),
        None | Some("-h" | "--help") => Err(Exit::printing(help::program_help(program))),
        Some("-v" | "--version") => Err(Exit::printing(version(program))),
        Some(flag) if flag.starts_with('-') => {
            Err(usage(format!("unrecognized arguments: {}", args[1..].join(" "))))
        }
        Some(other) if VLLM_SUBCOMMANDS.contains(&other) => Err(usage(format!(
            "argument subparser: `{program} {other}` is not built yet (choose from 'serve')"
        ))),
        Some(other) => {
            Err(usage(format!("argument subparser: {}", value::invalid_choice(other, &["serve"]))))
        }
    }
}

/// Subcommands that vLLM has and Glassbox has not.
const VLLM_SUBCOMMANDS: [&str; 9] = [
    "chat",
    "complete",
    "launch",
    "bench",
    "collect-env",
    "download-kernels",
    "preload",
    "run-batch",
    "snapshot",
];

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

fn serve(program: &str, args: &[String], env: Result<Env, String>) -> Result<Settings, Exit> {
    let rewritten = rewrite::rewrite(args).map_err(|failure| failure.into_exit(program))?;
    let warnings: String = rewritten.warnings.iter().map(|line| format!("{line}\n")).collect();
    let fail = |failure: Failure| {
        let exit = failure.into_exit(program);
        Exit { stderr: warnings.clone() + &exit.stderr, ..exit }
    };
    let raw = grammar::parse(&rewritten.args).map_err(fail)?;
    if raw.help {
        let about = rewritten.help_about.as_deref();
        return Err(Exit::printing(help::serve_help(program, about)));
    }
    let env = env.map_err(|message| fail(Failure::invalid(message)))?;
    resolve::resolve(&raw, env, rewritten.warnings)
        .map_err(|message| fail(Failure::invalid(message)))
}

#[cfg(test)]
mod tests;
