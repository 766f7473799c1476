use super::*;
use std::sync::Mutex;

const PLAIN: Format = Format { prefix: String::new(), pid: 7, color: false, paths: false };

fn line(format: &Format, level: Level, text: &str) -> String {
    format.line(level, "src/http/server.rs", 12, format_args!("{text}"), "11-23 15:32:30")
}

#[test]
fn lines_have_the_shape_of_vllm() {
    let wanted = "(APIServer pid=7) WARNING 11-23 15:32:30 [server.rs:12] hello\n";
    assert_eq!(line(&PLAIN, Level::Warn, "hello"), wanted);
    let format = Format { prefix: "pod-1 ".to_owned(), paths: true, ..PLAIN };
    let wanted = "pod-1 (APIServer pid=7) INFO 11-23 15:32:30 [http/server.rs:12] a\r\n\
                  pod-1 (APIServer pid=7) INFO 11-23 15:32:30 [http/server.rs:12] b\n";
    assert_eq!(line(&format, Level::Info, "a\nb"), wanted);
}

#[test]
fn colors_are_those_of_vllm() {
    let format = Format { color: true, ..PLAIN };
    let wanted = "\x1b[0;36m(APIServer pid=7)\x1b[0;0m \x1b[31mERROR\x1b[0m \
                  \x1b[90m11-23 15:32:30\x1b[0m \x1b[90m[server.rs:12]\x1b[0m x\n";
    assert_eq!(line(&format, Level::Error, "x"), wanted);
}

#[test]
fn the_server_writes_like_uvicorn() {
    let wanted = "INFO:     1.2.3.4:5 - \"GET /health HTTP/1.1\" 200 OK\n";
    let message = "1.2.3.4:5 - \"GET /health HTTP/1.1\" 200 OK";
    assert_eq!(PLAIN.server_line(Level::Info, &format_args!("{message}")), wanted);
    assert_eq!(PLAIN.server_line(Level::Warn, &format_args!("x")), "WARNING:  x\n");
}

#[test]
fn the_clock_reads_as_month_day_and_time() {
    let text = now();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "99-99 99:99:99");
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
    let (logger, guard) =
        start(PLAIN, LevelFilter::Info, LevelFilter::Info, Box::new(sink.clone()));
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
    let lost: usize = text
        .lines()
        .filter_map(|line| {
            line.split("] ").nth(1)?.strip_suffix(" log lines were dropped: output is too slow")
        })
        .map(|count| count.parse::<usize>().expect("a count"))
        .sum();
    assert!(lost >= 99, "{lost}");
    assert_eq!(written + lost, QUEUE + 100);
}
