//! How a record of the log is written: vLLM's and uvicorn's lines, or a JSON object.

use super::{ACCESS, SERVER};
use crate::config::LogFormat;
use crate::types::json::dumps_str;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, Record};
use serde_json::{Map, Value as Json};
use std::fmt::{self, Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The key of the reply's id.
pub const REQUEST_ID: &str = "request_id";
/// The key of the trace that a request belongs to.
pub const TRACE_ID: &str = "trace_id";

const RESET: &str = "\x1b[0m";
const GREY: &str = "\x1b[90m";

/// How lines look.
#[derive(Clone)]
pub(super) struct Format {
    pub kind: LogFormat,
    pub prefix: String,
    pub pid: u32,
    /// Of text only.
    pub color: bool,
    /// Whether places are shown with their folders; JSON always shows them.
    pub paths: bool,
}

impl Format {
    /// The record with its end of line. `time` is since 1970.
    pub fn record(&self, record: &Record, time: Duration) -> String {
        match self.kind {
            LogFormat::Json => self.object(record, time),
            // Lines of the HTTP server stay as they are, as in vLLM.
            _ if record.target() == ACCESS => self.server_line(record, true),
            _ if record.target() == SERVER => self.server_line(record, false),
            LogFormat::Text => self.line(record, time),
            LogFormat::PythonJson => self.python_object(record, time),
        }
    }

    /// `(APIServer pid=N) INFO 11-23 15:32:30 [file.rs:line] message`.
    fn line(&self, record: &Record, time: Duration) -> String {
        let (name, color) = match record.level() {
            Level::Error => ("ERROR", "\x1b[31m"),
            Level::Warn => ("WARNING", "\x1b[33m"),
            Level::Info => ("INFO", "\x1b[32m"),
            Level::Debug | Level::Trace => ("DEBUG", "\x1b[37m"),
        };
        let file = record.file().unwrap_or("?");
        let line = record.line().unwrap_or(0);
        let place =
            if self.paths { below_src(file) } else { file.rsplit('/').next().unwrap_or(file) };
        let time = local(time);
        let (prefix, pid) = (&self.prefix, self.pid);
        let head = if self.color {
            format!(
                "{prefix}\x1b[0;36m(APIServer pid={pid})\x1b[0;0m {color}{name}{RESET} \
                 {GREY}{time}{RESET} {GREY}[{place}:{line}]{RESET} "
            )
        } else {
            format!("{prefix}(APIServer pid={pid}) {name} {time} [{place}:{line}] ")
        };
        let message = message(record);
        let mut out = String::with_capacity(head.len() + message.len() + 1);
        for (i, part) in message.split('\n').enumerate() {
            if i > 0 {
                // What vLLM puts between the lines of one message.
                out.push_str("\r\n");
            }
            out.push_str(&head);
            out.push_str(part);
        }
        out.push('\n');
        out
    }

    /// `INFO:     message`, as uvicorn writes it. Access lines have a fixed form that programs
    /// read, so keys are added only to those of traced calls.
    fn server_line(&self, record: &Record, is_access: bool) -> String {
        let (name, color) = match record.level() {
            Level::Error => ("ERROR", "\x1b[31m"),
            Level::Warn => ("WARNING", "\x1b[33m"),
            Level::Info => ("INFO", "\x1b[32m"),
            Level::Debug => ("DEBUG", "\x1b[36m"),
            Level::Trace => ("TRACE", "\x1b[34m"),
        };
        let is_plain = is_access && !keys(record).iter().any(|(key, _)| key == TRACE_ID);
        let message = if is_plain { record.args().to_string() } else { message(record) };
        let gap = 9 - name.len();
        if self.color {
            format!("{color}{name}{RESET}:{:gap$}{message}\n", "")
        } else {
            format!("{name}:{:gap$}{message}\n", "")
        }
    }

    /// The same with the members, the times and the spaces of Python's JSON formatter.
    fn python_object(&self, record: &Record, time: Duration) -> String {
        let level = match record.level() {
            Level::Error => "ERROR",
            Level::Warn => "WARNING",
            Level::Info => "INFO",
            Level::Debug | Level::Trace => "DEBUG",
        };
        let t = broken_down(time, libc::localtime_r);
        let (year, month, day) = (t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
        let (hour, minute, second, millis) = (t.tm_hour, t.tm_min, t.tm_sec, time.subsec_millis());
        let mut line = format!(
            "{{\"asctime\": \"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},\
             {millis:03}\", \"levelname\": \"{level}\", \"name\": "
        );
        dumps_str(&mut line, &logger_name(record.target()));
        // Writing to a string cannot fail.
        let _ = write!(line, ", \"processName\": \"MainProcess\", \"process\": {}", self.pid);
        line.push_str(", \"message\": ");
        dumps_str(&mut line, &record.args().to_string());
        line.push_str(", \"vllm_process_name\": \"APIServer\"");
        for (key, value) in keys(record) {
            line.push_str(", ");
            dumps_str(&mut line, &key);
            line.push_str(": ");
            dumps_str(&mut line, &value);
        }
        line + "}\n"
    }

    /// One object on one line, whatever the message holds.
    fn object(&self, record: &Record, time: Duration) -> String {
        let level = match record.level() {
            Level::Error => "ERROR",
            Level::Warn => "WARNING",
            Level::Info => "INFO",
            Level::Debug | Level::Trace => "DEBUG",
        };
        let mut object = Map::new();
        object.insert("time".to_owned(), utc(time).into());
        object.insert("level".to_owned(), level.into());
        object.insert("logger".to_owned(), record.target().into());
        object.insert("file".to_owned(), record.file().map(below_src).into());
        object.insert("line".to_owned(), record.line().into());
        object.insert("pid".to_owned(), self.pid.into());
        if !self.prefix.is_empty() {
            object.insert("prefix".to_owned(), self.prefix.as_str().into());
        }
        object.insert("message".to_owned(), record.args().to_string().into());
        for (key, value) in keys(record) {
            object.entry(key).or_insert(value.into());
        }
        let mut line = Json::Object(object).to_string();
        line.push('\n');
        line
    }
}

/// `vllm.http.server` for `glassbox::http::server`: programs look for vLLM's loggers.
fn logger_name(target: &str) -> String {
    let rest =
        target.strip_prefix("glassbox").filter(|rest| rest.is_empty() || rest.starts_with(':'));
    let name = rest.map_or_else(|| target.to_owned(), |rest| format!("vllm{rest}"));
    name.replace("::", ".")
}

fn below_src(file: &str) -> &str {
    file.strip_prefix("src/").unwrap_or(file)
}

/// The keys of a record that have a value.
fn keys(record: &Record) -> Vec<(String, String)> {
    struct Keys(Vec<(String, String)>);
    impl<'kvs> VisitSource<'kvs> for Keys {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
            let value = value.to_string();
            if !value.is_empty() {
                self.0.push((key.as_str().to_owned(), value));
            }
            Ok(())
        }
    }
    let mut keys = Keys(Vec::new());
    // The visitor never fails.
    let _ = record.key_values().visit(&mut keys);
    keys.0
}

/// The message, and behind it the keys whose values it does not say.
fn message(record: &Record) -> String {
    let mut message = record.args().to_string();
    let keys = keys(record);
    let shown = |(key, value): (String, String)| {
        let value = Visible(&value).to_string();
        (!message.contains(&value)).then(|| format!("{key}={value}"))
    };
    let added: Vec<String> = keys.into_iter().filter_map(shown).collect();
    if !added.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(message, " [{}]", added.join(" "));
    }
    message
}

/// Text of a client in a line: control characters cannot end the line or colour a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Visible<'a>(pub &'a str);

impl Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if !self.0.contains(char::is_control) {
            return f.write_str(self.0);
        }
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}

/// Since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

type Convert = unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm;

fn broken_down(time: Duration, convert: Convert) -> libc::tm {
    let seconds = time.as_secs() as libc::time_t;
    // SAFETY: an all-zero `tm` is a valid value, also for its pointer to a zone name.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: `localtime_r` and `gmtime_r`, which alone are passed here, take these two pointers,
    // valid for the call, and keep neither.
    unsafe { convert(&seconds, &mut parts) };
    parts
}

/// Local time as `11-23 15:32:30`.
fn local(time: Duration) -> String {
    let t = broken_down(time, libc::localtime_r);
    let (month, day) = (t.tm_mon + 1, t.tm_mday);
    format!("{month:02}-{day:02} {:02}:{:02}:{:02}", t.tm_hour, t.tm_min, t.tm_sec)
}

/// RFC 3339 in UTC with microseconds.
fn utc(time: Duration) -> String {
    let t = broken_down(time, libc::gmtime_r);
    let (year, month, day) = (t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
    let (hour, minute, second, micros) = (t.tm_hour, t.tm_min, t.tm_sec, time.subsec_micros());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}
