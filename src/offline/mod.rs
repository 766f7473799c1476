//! The subcommands beside `serve`: those that talk to a server, and those that run the engine
//! without one.

mod collect_env;
mod engine;
mod healthcheck;
mod latency;
mod machine;
mod roofline;
mod run_batch;
mod throughput;

pub use machine::Machine;

use crate::client;
use crate::config::{Invocation, Settings};
use crate::telemetry::logs;
use std::future::Future;

/// Runs whatever was asked for; gives the exit code.
pub fn run(invocation: Invocation) -> u8 {
    let mut out = std::io::stdout();
    let done = match invocation {
        Invocation::Serve(settings) => return crate::serve::run(*settings),
        Invocation::Chat(settings) => blocking(async { client::chat(&settings, &mut out).await }),
        Invocation::Complete(settings) => {
            blocking(async { client::complete(&settings, &mut out).await })
        }
        Invocation::BenchServe(settings) => {
            blocking(async { client::bench::run(&settings, &mut out).await })
        }
        Invocation::BenchLatency(settings) => {
            logged(&settings.engine, || latency::run(&settings, &mut out))
        }
        Invocation::BenchThroughput(settings) => {
            logged(&settings.engine, || throughput::run(&settings, &mut out))
        }
        Invocation::RunBatch(settings) => logged(&settings.engine, || run_batch::run(&settings)),
        Invocation::CollectEnv => {
            print!("{}", collect_env::report());
            Ok(())
        }
        Invocation::Healthcheck(url) => blocking(healthcheck::run(url)),
    };
    match done {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("glassbox: error: {message}");
            1
        }
    }
}

/// Runs on a runtime until done, or until the person had enough, which is no failure.
fn blocking(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    // A thread may wait for a line that never comes.
    runtime.shutdown_background();
    done
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build().map_err(|error| format!("no runtime: {error}"))
}

/// Runs with the log that the settings ask for.
fn logged(settings: &Settings, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    for warning in &settings.warnings {
        eprintln!("{warning}");
    }
    let log = logs::init(&settings.logging).map_err(|error| format!("no log: {error}"))?;
    log::info!("non-default args: {}", settings.non_default_args);
    for idle in &settings.idle {
        log::warn!("{idle}");
    }
    let done = work();
    drop(log);
    done
}
