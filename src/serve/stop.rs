//! The end of the engine, before that of the process.
//!
//! A backend gives its device back what it took when it is dropped, on the engine's thread. The
//! driver's library takes itself down in an exit handler, and a call that meets that may crash or
//! hang. So nobody leaves before the engine is gone; and where it does not go (a device may hang),
//! the process ends without exit handlers.

use crate::engine::{EngineHandle, EngineThread};
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long an engine that was told to stop may take, and what moves KV after it.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often an engine that was told to stop is looked at.
const POLL: Duration = Duration::from_millis(1);

/// Something was not waited for that uses a device.
static LEFT_RUNNING: AtomicBool = AtomicBool::new(false);

/// A running engine. Dropped, it is stopped.
pub struct Running {
    engine: EngineHandle,
    /// `None` once it was waited for, in vain or not.
    thread: Option<EngineThread>,
}

impl Running {
    pub fn new(engine: EngineHandle, thread: EngineThread) -> Self {
        Self { engine, thread: Some(thread) }
    }

    /// Waits until the engine is gone without having been told to, and tells why it is.
    pub async fn ended(&mut self) -> String {
        let Some(thread) = &mut self.thread else { return std::future::pending().await };
        thread.ended().await;
        match self.take() {
            Ok(()) => "it was told to stop".to_owned(),
            Err(reason) => reason,
        }
    }

    /// Ends all that is in flight and then the engine, and waits for that.
    ///
    /// # Errors
    /// What the engine failed with, or that it is still there after `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<(), String> {
        let Some(thread) = &self.thread else { return Ok(()) };
        self.engine.abort_all();
        self.engine.stop();
        let deadline = Instant::now() + patience;
        while !thread.is_over() {
            if Instant::now() >= deadline {
                self.thread = None;
                LEFT_RUNNING.store(true, Relaxed);
                return Err(format!("the engine did not stop in {} s", patience.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        self.take()
    }

    /// What the thread ended with, which it has.
    fn take(&mut self) -> Result<(), String> {
        match self.thread.take().map(EngineThread::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(_)) => Err("it panicked; the message is above".to_owned()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(reason) = self.stop(STOP_GRACE) {
            log::error!("{reason}");
        }
    }
}

/// Drops `things`, which are `what`, for [`STOP_GRACE`] at most.
pub fn drop_in_time<T: Send + 'static>(what: &str, things: T) {
    let (gone, wait) = channel::<()>();
    // Without a thread they are dropped here and now.
    let _ = Builder::new().spawn(move || {
        drop(things);
        drop(gone);
    });
    if wait.recv_timeout(STOP_GRACE) == Err(RecvTimeoutError::Timeout) {
        LEFT_RUNNING.store(true, Relaxed);
        log::error!("{what} did not end in {} s", STOP_GRACE.as_secs());
    }
}

/// Ends the process, without exit handlers where something was left running.
pub fn leave(code: u8) -> ExitCode {
    if LEFT_RUNNING.load(Relaxed) {
        let _ = std::io::stdout().flush();
        // SAFETY: it does not return, and nothing of this process is looked at any more.
        unsafe { libc::_exit(code.into()) }
    }
    ExitCode::from(code)
}
