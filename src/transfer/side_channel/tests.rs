use super::super::metadata::HandshakePayload;
use super::*;
use crate::types::Clock;
use crate::zmq::zmtp;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

fn payload() -> HandshakePayload {
    HandshakePayload { compatibility_hash: "ab".repeat(32), agent_metadata_bytes: vec![7; 300_000] }
}

fn listen(clock: &Clock) -> Listener {
    Listener::bind("127.0.0.1", 0, payload().encode().into(), clock.clone()).expect("a port")
}

fn ask(listener: &Listener, clock: &Clock, ranks: (u64, u64)) -> Result<Answer, QueryError> {
    query("127.0.0.1", listener.port(), ranks, LONG, clock)
}

#[test]
fn a_query_is_answered_with_the_payload_and_the_clock() {
    let (theirs, ours) = (Clock::manual(), Clock::manual());
    theirs.advance(Duration::from_millis(7500));
    ours.advance(Duration::from_secs(2));
    let listener = listen(&theirs);
    let answer = ask(&listener, &ours, (0, 0)).expect("an answer");
    assert_eq!(answer.payload, payload());
    assert_eq!((answer.clock_offset, answer.round_trip), (5.5, Duration::ZERO));
}

#[test]
fn a_rank_that_is_not_there_is_refused_at_once_and_the_listener_goes_on() {
    let clock = Clock::system();
    let listener = listen(&clock);
    for ranks in [(0, 1), (1, 0), (u64::MAX, 3)] {
        let error = ask(&listener, &clock, ranks).expect_err("no such rank").to_string();
        let wanted = format!(
            "the peer cannot answer: there is no rank pp {}, tp {}: this engine has one rank, 0",
            ranks.0, ranks.1
        );
        assert_eq!(error, wanted);
    }
    assert!(ask(&listener, &clock, (0, 0)).is_ok());
}

#[test]
fn a_resolver_that_does_not_answer_ends_the_query_in_time() {
    use query::{Deadline, in_time};
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let stuck = move || Ok(ended.recv().is_err());
    let result = in_time(Deadline::after(Duration::from_millis(20)), stuck);
    assert!(matches!(result, Err(QueryError::Timeout(_))), "{result:?}");
    drop(end);
    let found = in_time(Deadline::after(LONG), || Ok(7)).expect("in time");
    assert_eq!(found.expect("found"), 7);
}

/// A connection that has shaken hands as a REQ.
fn connect(listener: &Listener) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", listener.port())).expect("a listener");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    stream.write_all(&zmtp::greeting()).expect("written");
    stream.write_all(&zmtp::ready("REQ")).expect("written");
    let mut greeting = vec![0; zmtp::GREETING + zmtp::ready("ROUTER").len()];
    stream.read_exact(&mut greeting).expect("a greeting");
    stream
}

/// The frames of the reply to a query of these bytes.
fn reply(stream: &mut TcpStream, frames: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut message = Vec::new();
    zmtp::put_message(&mut message, frames);
    stream.write_all(&message).expect("written");
    let mut found = Vec::new();
    loop {
        let mut flags = [0];
        stream.read_exact(&mut flags).expect("a frame");
        let len = if flags[0] & 2 == 0 {
            let mut len = [0];
            stream.read_exact(&mut len).expect("a length");
            usize::from(len[0])
        } else {
            let mut len = [0; 8];
            stream.read_exact(&mut len).expect("a length");
            u64::from_be_bytes(len) as usize
        };
        let mut body = vec![0; len];
        stream.read_exact(&mut body).expect("a body");
        found.push(body);
        if flags[0] & 1 == 0 {
            return found;
        }
    }
}

#[test]
fn malformed_queries_are_answered_with_the_reason_on_the_same_connection() {
    let clock = Clock::system();
    let listener = listen(&clock);
    let mut stream = connect(&listener);
    let good: &[u8] = b"\x93\xc4\x0cget_meta_msg\x00\x00";
    let huge = vec![0xff; 60_000];
    for (frames, reason) in [
        (&[b"", &b"\xc1"[..]][..], "Expected `array`, got `null` - at `$`"),
        (&[b"", b""], "Input data was truncated"),
        (&[b"", b"\x92\x01\x02"], "Expected `array` of length 3, got 2"),
        (&[b"", b"\x93\x01\xa1x\x00"], "Expected `int`, got `str` - at `$[1]`"),
        (&[b"", b"\xdd\xff\xff\xff\xff"], "Expected `array` of length 3, got 4294967295"),
        (&[b"", b"\x93\x01\xff\x00"], "Expected `int` >= 0, got -1 - at `$[1]`"),
        (&[b"", b"\x93\x01\x00\x00\x00"], "MessagePack data is malformed: 1 bytes follow its end"),
        (&[b"", &huge], "Expected `array`, got `int` - at `$`"),
        (&[b"x"], "a query has 2 frames, not 1"),
        (&[b"", b"", good], "a query has 2 frames, not 3"),
    ] {
        assert_eq!(reply(&mut stream, frames), [b"".as_slice(), reason.as_bytes()]);
    }
    // vLLM looks neither at the first frame nor at what the query begins with.
    for frames in [[&b""[..], good], [b"x", good], [b"", b"\x93\xa5other\x00\x00"]] {
        let found = reply(&mut stream, &frames);
        assert_eq!((found.len(), &found[1]), (3, &payload().encode()));
        assert_eq!((found[2].len(), found[2][0]), (9, 0xcb));
    }
}

#[test]
fn peers_that_hang_or_talk_nonsense_keep_nobody_else_waiting() {
    let clock = Clock::system();
    let listener = listen(&clock);
    let address = ("127.0.0.1", listener.port());
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(address).expect("a listener")).collect();
    let half: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect(&listener);
            stream.write_all(b"\x01\x00\x00\x20\x93").expect("written");
            stream
        })
        .collect();
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 200]] {
        let mut stream = TcpStream::connect(address).expect("a listener");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        stream.write_all(nonsense).expect("written");
        // It is sent away.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 64, "{rest:?}");
    }
    let mut large = connect(&listener);
    large.write_all(b"\x02\0\0\0\x01\0\0\0\0").expect("written");
    assert_eq!(large.read(&mut [0]).unwrap_or(0), 0, "a frame of 4 GiB ends the connection");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(ask(&listener, &clock, (0, 0)).is_ok()));
        }
    });
    drop((silent, half));
}

#[test]
fn more_peers_than_there_is_room_for_are_sent_away() {
    let clock = Clock::system();
    let listener = listen(&clock);
    let held: Vec<TcpStream> = (0..256).map(|_| connect(&listener)).collect();
    let error = ask(&listener, &clock, (0, 0)).expect_err("no room");
    assert!(matches!(error, QueryError::Io(_)), "{error}");
    drop(held);
    // Their room is free once the listener has seen them go.
    let since = Instant::now();
    while ask(&listener, &clock, (0, 0)).is_err() {
        assert!(since.elapsed() < LONG, "there is no room again");
        thread::yield_now();
    }
}

#[test]
fn dropping_the_listener_frees_the_port() {
    let clock = Clock::system();
    let listener = listen(&clock);
    let (port, held) = (listener.port(), connect(&listener));
    drop(listener);
    let again = Listener::bind("127.0.0.1", port, payload().encode().into(), clock.clone());
    assert_eq!(again.expect("the same port").port(), port);
    drop(held);
    let error = query("127.0.0.1", port, (0, 0), LONG, &clock).expect_err("nobody is there");
    assert!(error.to_string().starts_with(&format!("no connection to tcp://127.0.0.1:{port}: ")));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let bound = Listener::bind("127.0.0.1", port, Arc::from([]), clock);
    assert_eq!(bound.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
}

/// Asks a peer that says `bytes` after its greeting and then no more.
fn ask_liar(bytes: &[u8], timeout: Duration) -> QueryError {
    let liar = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = liar.local_addr().expect("bound").port();
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            let (mut stream, _) = liar.accept().expect("a peer");
            stream.write_all(bytes).expect("written");
            // Reads until the asking side gives up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let error = query("127.0.0.1", port, (0, 0), timeout, &Clock::system()).expect_err("a lie");
        held.join().expect("the liar ends");
        error
    })
}

#[test]
fn peers_that_lie_or_stall_are_errors_within_the_time() {
    let short = Duration::from_millis(50);
    let hello = [&zmtp::greeting()[..], &zmtp::ready("ROUTER")].concat();
    let said = |frames: &[&[u8]]| {
        let mut bytes = hello.clone();
        zmtp::put_message(&mut bytes, frames);
        bytes
    };
    let good = payload().encode();
    let time: &[u8] = b"\xcb\x40\xc4\xc8\x00\x00\x00\x00\x00";
    for (bytes, timeout, wanted) in [
        (Vec::new(), short, "no reply within 0.1 s"),
        (hello.clone(), short, "no reply within 0.1 s"),
        (said(&[b"", &good, time])[..9000].to_vec(), short, "no reply within 0.1 s"),
        (
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            LONG,
            "the peer is wrong: it does not speak ZMTP",
        ),
        (
            [&zmtp::greeting()[..], &zmtp::ready("PUB")].concat(),
            LONG,
            "the peer is wrong: its socket is \"PUB\", which does not fit",
        ),
        (
            [&hello[..], b"\x02\0\0\0\x01\0\0\0\0"].concat(),
            LONG,
            "the peer is wrong: it sent a frame of 4294967296 bytes",
        ),
        (said(&[b"", b"no"]), LONG, "the peer cannot answer: no"),
        (said(&[b"", &good, time, b""]), LONG, "a reply has 2 frames, not 3"),
        (said(&[b"x", &good, time]), LONG, "the peer is wrong: it sent a malformed command"),
        (
            said(&[b"", b"\xc0", time]),
            LONG,
            "Failed to decode NixlHandshakePayload. This likely indicates an incompatibility \
             between connector version. Error: Expected `object`, got `null` - at `$`",
        ),
        (
            said(&[b"", &good, b"\x07"]),
            LONG,
            "the peer's clock cannot be read: Expected `float`, got `int` - at `$`",
        ),
        (
            said(&[b"", &good, b"\xcb\x7f\xf0\0\0\0\0\0\0"]),
            LONG,
            "the peer's clock cannot be read: inf is no time",
        ),
        (said(&vec![&b""[..]; 65]), LONG, "a reply has 2 frames, not 64"),
    ] {
        let since = Instant::now();
        assert_eq!(ask_liar(&bytes, timeout).to_string(), wanted);
        assert!(since.elapsed() < LONG);
    }
}
