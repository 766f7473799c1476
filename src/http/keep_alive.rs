//! Comments in a stream that has nothing to say, for proxies that close silent connections.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::http::header::CONTENT_TYPE;
use hyper::body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

const COMMENT: &[u8] = b": keep-alive\n\n";

/// Sends a comment whenever `response` has been silent for `interval`, if it is a stream.
pub fn keep_alive(response: Response<Body>, interval: Option<Duration>) -> Response<Body> {
    let kind = response.headers().get(CONTENT_TYPE);
    let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match interval.filter(|_| is_stream) {
        None => response,
        Some(interval) => response.map(|body| {
            Body::new(Commented { body, interval, silence: Box::pin(sleep(interval)) })
        }),
    }
}

struct Commented {
    body: Body,
    interval: Duration,
    silence: Pin<Box<Sleep>>,
}

impl HttpBody for Commented {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                std::task::ready!(self.silence.as_mut().poll(cx));
                Some(Ok(Frame::data(Bytes::from_static(COMMENT))))
            }
        };
        let next = Instant::now() + self.interval;
        self.silence.as_mut().reset(next);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::poll_fn;
    use http_body_util::BodyExt;
    use tokio::sync::mpsc::unbounded_channel;

    #[tokio::test]
    async fn only_silence_is_commented() {
        let (events, mut coming) = unbounded_channel::<&'static [u8]>();
        let stream = poll_fn(move |cx| {
            let event = std::task::ready!(coming.poll_recv(cx));
            Poll::Ready(event.map(|event| Ok::<_, axum::Error>(Bytes::from_static(event))))
        });
        let response = super::super::respond::events(Body::from_stream(stream));
        let mut body = keep_alive(response, Some(Duration::from_millis(1))).into_body();
        for event in [&b"data: x\n\n"[..], b"data: y\n\n"] {
            events.send(event).expect("the stream is there");
            let mut frames = Vec::new();
            // What is ready goes first; silence comes after it, again and again.
            for _ in 0..3 {
                let frame = body.frame().await.expect("no end").expect("no error");
                frames.push(frame.into_data().expect("data"));
            }
            assert_eq!(frames, [event, COMMENT, COMMENT]);
        }
        drop(events);
        assert!(body.frame().await.is_none());
    }
}
