//! The connector's thread.

use super::core::Core;
use super::link::{Command, Link};
use crate::types::Clock;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};

/// A connector that runs. Dropping it ends the thread, and with it the transport.
pub struct Running {
    link: Link,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the thread. `link` is the other end of `commands`.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        link: Link,
        commands: Receiver<Command>,
        clock: Clock,
        core: Core,
    ) -> io::Result<Self> {
        let thread = Builder::new().name("kv-transfer".to_owned());
        let thread = thread.spawn(move || run(core, &commands, &clock))?;
        Ok(Self { link, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.link.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by then; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// Sleeps until something is said or due.
fn run(mut core: Core, commands: &Receiver<Command>, clock: &Clock) {
    let mut wake = core.turn();
    loop {
        let command = match wake {
            Some(at) => commands.recv_timeout(at.since(clock.now())),
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(command) => {
                if core.take(command) {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        while let Ok(command) = commands.try_recv() {
            if core.take(command) {
                return;
            }
        }
        wake = core.turn();
    }
}
