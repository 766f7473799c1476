//! Log lines, as vLLM's text or as JSON, written by a thread of their own.
//!
//! A caller formats its line and hands it over; when the writer falls behind by [`QUEUE`] lines,
//! further ones are dropped and counted, and the count is logged once there is room. So neither
//! the engine nor a request ever waits for a terminal or a full pipe.
//!
//! Lines that concern a request carry its ids as key-values, under [`REQUEST_ID`] and
//! [`TRACE_ID`]; a key with an empty value counts as absent.

mod format;

pub use format::{REQUEST_ID, TRACE_ID, Visible};

use crate::config::{LogLevel, LoggingSettings};
use format::{Format, now};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// The target of access lines: `INFO:     1.2.3.4:5 - "GET /health HTTP/1.1" 200 OK`.
pub const ACCESS: &str = "uvicorn.access";
/// The target of the HTTP server's own lines: `INFO:     Application startup complete.`
pub const SERVER: &str = "uvicorn.error";

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;

/// Lines lost by this process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines were lost because output was too slow.
pub fn lines_lost() -> u64 {
    LOST.load(Relaxed)
}

enum Job {
    Line(String),
    /// Write what came before, then answer.
    Flush(SyncSender<()>),
    Stop,
}

/// Keeps the log alive; writes what is left when dropped.
pub struct LogGuard {
    jobs: SyncSender<Job>,
    writer: Option<JoinHandle<()>>,
}

impl LogGuard {
    /// Waits until every line so far is written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.jobs.send(Job::Flush(done)).is_ok() {
            // An error means that the writer has ended, and then nothing is left to write.
            let _ = wait.recv();
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        log::set_max_level(LevelFilter::Off);
        let _ = self.jobs.send(Job::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Makes the log of the process. Call once; a second call changes nothing but the levels' guard.
///
/// # Errors
/// When the process has a log already.
pub fn init(settings: &LoggingSettings) -> Result<Option<LogGuard>, log::SetLoggerError> {
    let Some(level) = settings.level else { return Ok(None) };
    let terminal = if settings.to_stderr {
        std::io::stderr().is_terminal()
    } else {
        std::io::stdout().is_terminal()
    };
    let format = Format {
        kind: settings.format,
        prefix: settings.prefix.clone(),
        pid: std::process::id(),
        color: settings.color.unwrap_or(terminal),
        paths: level <= LogLevel::Debug,
    };
    let out: Box<dyn Write + Send> =
        if settings.to_stderr { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    let (logger, guard) = start(format, filter(level), filter(settings.server_level), out);
    log::set_boxed_logger(Box::new(logger))?;
    log::set_max_level(filter(level).max(filter(settings.server_level)));
    Ok(Some(guard))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::Trace,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Error | LogLevel::Critical => LevelFilter::Error,
    }
}

fn start(
    format: Format,
    level: LevelFilter,
    server_level: LevelFilter,
    out: Box<dyn Write + Send>,
) -> (Logger, LogGuard) {
    let (jobs, queue) = sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = {
        let (format, dropped) = (format.clone(), dropped.clone());
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&queue, &dropped, &format, out))
    };
    // Without the thread the queue fills and lines are dropped: the server goes on without a log.
    let guard = LogGuard { jobs: jobs.clone(), writer: writer.ok() };
    (Logger { jobs, dropped, format, level, server_level }, guard)
}

fn write_all(
    queue: &Receiver<Job>,
    dropped: &AtomicU64,
    format: &Format,
    mut out: Box<dyn Write + Send>,
) {
    // Errors are ignored: there is nowhere left to say that the log cannot be written.
    while let Ok(job) = queue.recv() {
        match job {
            Job::Line(line) => drop(out.write_all(line.as_bytes())),
            Job::Flush(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
            Job::Stop => break,
        }
        match dropped.swap(0, Relaxed) {
            0 => {}
            lost => {
                let line = format.record(
                    &Record::builder()
                        .level(Level::Warn)
                        .target(module_path!())
                        .file(Some(file!()))
                        .line(Some(line!()))
                        .args(format_args!("{lost} log lines were dropped: output is too slow"))
                        .build(),
                    now(),
                );
                let _ = out.write_all(line.as_bytes());
            }
        }
    }
    let _ = out.flush();
}

struct Logger {
    jobs: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
    format: Format,
    level: LevelFilter,
    server_level: LevelFilter,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        let target = metadata.target();
        let level = if target == ACCESS || target == SERVER {
            self.server_level
        } else if target.starts_with("glassbox") {
            self.level
        } else {
            // Libraries talk a lot; at INFO only their warnings are news.
            if self.level >= LevelFilter::Debug { self.level } else { LevelFilter::Warn }
        };
        metadata.level() <= level
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = self.format.record(record, now());
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
            LOST.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests;
