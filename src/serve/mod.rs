//! `serve`: bind, load, serve, shut down.

mod bind;
mod shutdown;

use glassbox::config::Settings;
use glassbox::telemetry::logs;
use shutdown::{Ended, Work, serve_until_asked};
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Serves until asked to end. Whatever goes wrong before is one line on stderr and exit code 1.
pub fn run(settings: Settings) -> ExitCode {
    for warning in &settings.warnings {
        eprintln!("{warning}");
    }
    let log = match logs::init(&settings.logging) {
        Ok(log) => log,
        Err(error) => return fail(&format!("the log cannot be set up: {error}")),
    };
    let ended = start(&settings);
    // What was logged comes before the error that ends the process.
    drop(log);
    match ended {
        Ok(ended) => ExitCode::from(ended.code()),
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("glassbox: error: {message}");
    ExitCode::FAILURE
}

fn start(settings: &Settings) -> Result<Ended, String> {
    log::info!("non-default args: {}", settings.non_default_args);
    let bound = bind::bind(settings.frontend.host.as_deref(), settings.frontend.port)?;
    log::debug!("bound {}", bound.address());
    Err("this build has no engine behind its command line yet".to_owned())
}
