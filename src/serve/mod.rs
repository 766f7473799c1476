//! `serve`: bind, load, serve, shut down. The top of the house: it alone knows every room.

pub mod bind;
pub mod shutdown;

use crate::config::Settings;
use crate::engine::EngineHandle;
use crate::telemetry::logs;
use shutdown::{Ended, Work};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

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

impl Work for EngineHandle {
    fn in_flight(&self) -> usize {
        EngineHandle::in_flight(self)
    }

    fn abort_all(&self) {
        EngineHandle::abort_all(self);
    }
}

/// SIGTERM and SIGINT by number, as they come. Until this is called they end the process, as they
/// should while a model is loaded. Within a tokio runtime.
///
/// # Errors
/// When the system refuses a handler.
pub fn signals() -> std::io::Result<mpsc::Receiver<i32>> {
    let (send, receive) = mpsc::channel(2);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let send = send.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() && send.send(kind.as_raw_value()).await.is_ok() {}
        });
    }
    Ok(receive)
}
