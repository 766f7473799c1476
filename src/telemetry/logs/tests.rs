use super::format::{Format, REQUEST_ID, TRACE_ID};
use super::*;
use crate::config::LogFormat;
use proptest::prelude::*;
use std::sync::Mutex;
use std::time::Duration;

const PLAIN: Format =
    Format { kind: LogFormat::Text, prefix: String::new(), pid: 7, color: false, paths: false };
const JSON: Format =
    Format { kind: LogFormat::Json, prefix: String::new(), pid: 7, color: false, paths: false };
/// 2023-11-23 15:32:30.000123 UTC.
const TIME: Duration = Duration::new(1_700_753_550, 123_999);
const CALL: [(&str, &str); 2] = [(REQUEST_ID, "cmpl-1"), (TRACE_ID, "0af7")];

fn write(format: &Format, target: &str, level: Level, keys: &[(&str, &str)], text: &str) -> String {
    format.record(
        &Record::builder()
            .target(target)
            .level(level)
            .file(Some("src/http/server.rs"))
            .line(Some(12))
            .key_values(&keys)
            .args(format_args!("{text}"))
            .build(),
        TIME,
    )
}

fn line(format: &Format, level: Level, text: &str) -> String {
    hide_time(&write(format, "glassbox", level, &[], text))
}

/// Local time depends on where the test runs.
fn hide_time(line: &str) -> String {
    let shape: String = line.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let mut out = line.to_owned();
    for (at, time) in shape.match_indices("99-99 99:99:99") {
        out.replace_range(at..at + time.len(), "<time>________");
    }
    out.replace("<time>________", "<time>")
}

#[test]
fn lines_have_the_shape_of_vllm() {
    let wanted = "(APIServer pid=7) WARNING <time> [server.rs:12] hello\n";
    assert_eq!(line(&PLAIN, Level::Warn, "hello"), wanted);
    let format = Format { prefix: "pod-1 ".to_owned(), paths: true, ..PLAIN };
    let wanted = "pod-1 (APIServer pid=7) INFO <time> [http/server.rs:12] a\r\n\
                  pod-1 (APIServer pid=7) INFO <time> [http/server.rs:12] b\n";
    assert_eq!(line(&format, Level::Info, "a\nb"), wanted);
}

#[test]
fn colors_are_those_of_vllm() {
    let format = Format { color: true, ..PLAIN };
    let wanted = "\x1b[0;36m(APIServer pid=7)\x1b[0;0m \x1b[31mERROR\x1b[0m \
                  \x1b[90m<time>\x1b[0m \x1b[90m[server.rs:12]\x1b[0m x\n";
    assert_eq!(line(&format, Level::Error, "x"), wanted);
    // No colours in JSON.
    let format = Format { color: true, ..JSON };
    assert!(!line(&format, Level::Error, "x").contains('\x1b'));
}

#[test]
fn the_server_writes_like_uvicorn() {
    let wanted = "INFO:     1.2.3.4:5 - \"GET /health HTTP/1.1\" 200 OK\n";
    let message = "1.2.3.4:5 - \"GET /health HTTP/1.1\" 200 OK";
    assert_eq!(write(&PLAIN, ACCESS, Level::Info, &[], message), wanted);
    assert_eq!(write(&PLAIN, SERVER, Level::Warn, &[], "x"), "WARNING:  x\n");
}

#[test]
fn text_adds_the_keys_that_the_message_does_not_say() {
    let said = |keys: &[(&str, &str)], text: &str| {
        let line = write(&PLAIN, "glassbox", Level::Info, keys, text);
        line.split_once("[server.rs:12] ").expect("a head").1.to_owned()
    };
    assert_eq!(said(&CALL, "done"), "done [request_id=cmpl-1 trace_id=0af7]\n");
    assert_eq!(said(&CALL, "Added request cmpl-1-0."), "Added request cmpl-1-0. [trace_id=0af7]\n");
    let untraced = [(REQUEST_ID, "cmpl-1"), (TRACE_ID, "")];
    assert_eq!(said(&untraced, "Added request cmpl-1."), "Added request cmpl-1.\n");
    // A client's id cannot end the line.
    assert_eq!(said(&[(REQUEST_ID, "a\n\x1bb")], "x"), "x [request_id=a\\n\\u{1b}b]\n");
}

#[test]
fn access_lines_change_only_for_traced_calls() {
    let access = |keys: &[(&str, &str)]| write(&PLAIN, ACCESS, Level::Info, keys, "x");
    assert_eq!(access(&[(REQUEST_ID, "cmpl-1"), (TRACE_ID, "")]), "INFO:     x\n");
    assert_eq!(access(&CALL), "INFO:     x [request_id=cmpl-1 trace_id=0af7]\n");
}

#[test]
fn json_is_one_object_a_line() {
    let line = write(&JSON, ACCESS, Level::Warn, &CALL, "GET");
    let wanted = "{\"time\":\"2023-11-23T15:32:30.000123Z\",\"level\":\"WARNING\",\
                  \"logger\":\"uvicorn.access\",\"file\":\"http/server.rs\",\"line\":12,\"pid\":7,\
                  \"message\":\"GET\",\"request_id\":\"cmpl-1\",\"trace_id\":\"0af7\"}\n";
    assert_eq!(line, wanted);
}

proptest! {
    #[test]
    fn json_survives_any_text(message: String, id: String, prefix: String) {
        let format = Format { prefix: prefix.clone(), ..JSON };
        let keys = [(REQUEST_ID, id.as_str()), ("message", "a key cannot hide the message")];
        let line = write(&format, "glassbox", Level::Info, &keys, &message);
        let object = line.strip_suffix('\n').expect("an end of line");
        prop_assert!(!object.contains(['\n', '\r', '\x1b']));
        let object: serde_json::Value = serde_json::from_str(object).expect("JSON");
        prop_assert_eq!(&object["message"], &message);
        prop_assert_eq!(object[REQUEST_ID].as_str().unwrap_or_default(), id);
        prop_assert_eq!(object["prefix"].as_str().unwrap_or_default(), prefix);
    }
}

/// A place to write to that can be held shut.
#[derive(Clone, Default)]
struct Sink {
    text: Arc<Mutex<Vec<u8>>>,
    gate: Arc<Mutex<()>>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _open = self.gate.lock().expect("not poisoned");
        self.text.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().expect("not poisoned").clone()).expect("UTF-8")
    }
}

fn say(logger: &Logger, target: &str, level: Level, text: &str) {
    let message = format_args!("{text}");
    logger.log(&Record::builder().target(target).level(level).args(message).build());
}

#[test]
fn levels_are_per_origin() {
    let sink = Sink::default();
    let (logger, guard) =
        start(PLAIN, LevelFilter::Info, LevelFilter::Warn, Box::new(sink.clone()));
    say(&logger, "glassbox::engine", Level::Info, "engine-info");
    say(&logger, "glassbox::engine", Level::Debug, "engine-debug");
    say(&logger, "hyper", Level::Info, "library-info");
    say(&logger, "hyper", Level::Warn, "library-warning");
    say(&logger, ACCESS, Level::Info, "access-info");
    guard.flush();
    let text = sink.text();
    let has = |word: &str| text.contains(word);
    assert!(has("engine-info") && has("library-warning"), "{text}");
    assert!(!has("engine-debug") && !has("library-info") && !has("access-info"), "{text}");
}

#[test]
fn a_stuck_output_never_blocks_and_losses_are_said() {
    let sink = Sink::default();
    let before = lines_lost();
    let (logger, guard) = start(JSON, LevelFilter::Info, LevelFilter::Info, Box::new(sink.clone()));
    {
        let _shut = sink.gate.lock().expect("not poisoned");
        // One line may be in the writer's hands, QUEUE wait, and the rest must be lost.
        for i in 0..QUEUE + 100 {
            say(&logger, "glassbox", Level::Info, &format!("line-{i}."));
        }
    }
    drop(guard);
    let text = sink.text();
    let written = text.matches("line-").count();
    let notice = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let count = record["message"]
            .as_str()?
            .strip_suffix(" log lines were dropped: output is too slow")?;
        count.parse::<usize>().ok()
    };
    let lost: usize = text.lines().filter_map(notice).sum();
    assert!(lost >= 99, "{lost}");
    assert_eq!(written + lost, QUEUE + 100);
    assert_eq!(lines_lost() - before, lost as u64);
}

#[test]
fn json_of_vllm_has_the_members_of_its_formatter() {
    let format = Format { kind: LogFormat::PythonJson, ..PLAIN };
    let line = write(&format, "glassbox::http::server", Level::Warn, &CALL, "hé \"x\"\nsecond");
    let (head, rest) = line.split_once(", \"levelname\"").expect("a level");
    // In local time.
    let shape: String = head.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, r#"{"asctime": "9999-99-99 99:99:99,999""#);
    assert!(head.ends_with(",000\""), "{head}");
    let wanted = r#": "WARNING", "name": "vllm.http.server", "processName": "MainProcess", "#
        .to_owned()
        + r#""process": 7, "message": "h\u00e9 \"x\"\nsecond", "vllm_process_name": "APIServer", "#
        + r#""request_id": "cmpl-1", "trace_id": "0af7"}"#
        + "\n";
    assert_eq!(rest, wanted);
    // The server's lines stay uvicorn's.
    assert_eq!(write(&format, SERVER, Level::Info, &[], "x"), "INFO:     x\n");
}
