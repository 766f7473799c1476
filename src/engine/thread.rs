//! The thread that an engine runs in.

use super::core::Core;
use crate::runner::BackendError;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

/// An engine that runs.
pub struct EngineThread {
    thread: JoinHandle<Result<(), BackendError>>,
    /// Its other end goes with the engine.
    alive: oneshot::Receiver<Infallible>,
}

impl EngineThread {
    /// Waits until the engine is gone, and its backend with it. Once that is so, it is not to be
    /// asked again.
    pub async fn ended(&mut self) {
        let _ = (&mut self.alive).await;
    }

    /// Whether the engine is gone, and its backend with it.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread, however long that takes.
    ///
    /// # Errors
    /// What the engine panicked with.
    pub fn join(self) -> std::thread::Result<Result<(), BackendError>> {
        self.thread.join()
    }
}

/// Starts the engine thread. It ends after [`super::EngineHandle::stop`] once nothing is in flight,
/// or with the backend's error.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(core: Core) -> io::Result<EngineThread> {
    let (lives, alive) = oneshot::channel();
    let thread = Builder::new().name("engine".to_owned()).spawn(move || {
        // Goes after the core, which is declared later.
        let _lives = lives;
        let mut core = core;
        // A panic must not leave clients waiting: they are told first.
        catch_unwind(AssertUnwindSafe(|| core.run())).unwrap_or_else(|panic| {
            core.fail();
            resume_unwind(panic)
        })
    })?;
    Ok(EngineThread { thread, alive })
}
