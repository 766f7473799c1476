//! `metrics` of a reply: what `--enable-per-request-metrics` shows of one generation's times.

use crate::types::{Moment, Timeline};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Milliseconds, and tokens a second. What cannot be said is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestTiming {
    time_to_first_token: Option<f64>,
    generation_time: Option<f64>,
    queue_time: Option<f64>,
    mean_itl: Option<f64>,
    tokens_per_second: Option<f64>,
}

impl RequestTiming {
    /// Of a generation that gave `tokens` tokens.
    pub fn new(timeline: &Timeline, last_token: Option<Moment>, tokens: u32) -> Self {
        let millis = |from: Option<Moment>, to: Option<Moment>| {
            Some(to?.since(from?).as_secs_f64() * 1000.0)
        };
        let decode = millis(timeline.first_token, last_token);
        let inference = millis(timeline.scheduled, last_token).filter(|time| *time > 0.0);
        Self {
            time_to_first_token: millis(timeline.scheduled, timeline.first_token),
            generation_time: decode,
            queue_time: millis(timeline.queued, timeline.scheduled),
            mean_itl: decode.filter(|_| tokens > 1).map(|time| time / f64::from(tokens - 1)),
            tokens_per_second: inference.map(|time| f64::from(tokens) / time * 1000.0),
        }
    }

    fn members(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("time_to_first_token_ms", self.time_to_first_token),
            ("generation_time_ms", self.generation_time),
            ("queue_time_ms", self.queue_time),
            ("mean_itl_ms", self.mean_itl),
            ("tokens_per_second", self.tokens_per_second),
        ]
    }
}

/// The form of a whole reply: all members.
impl Serialize for RequestTiming {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(6))?;
        for (name, value) in self.members() {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("speculative_decoding", &())?;
        map.end()
    }
}

/// The form of a stream's last chunk: no nulls.
pub struct KnownTiming<'a>(pub &'a RequestTiming);

impl Serialize for KnownTiming<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.0.members().into_iter().filter_map(|(name, value)| Some((name, value?)));
        serializer.collect_map(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TimelineRoom;
    use serde_json::json;

    #[test]
    fn says_what_is_known() {
        let at = |millis: u64| Some(Moment::from_nanos(millis * 1_000_000));
        let mut timeline = Timeline::new(Moment::default(), TimelineRoom::default());
        (timeline.queued, timeline.scheduled) = (at(1), at(3));
        timeline.first_token = at(10);
        let timing = RequestTiming::new(&timeline, at(30), 5);
        let known = json!({
            "time_to_first_token_ms": 7.0, "generation_time_ms": 20.0, "queue_time_ms": 2.0,
            "mean_itl_ms": 5.0, "tokens_per_second": 5.0 / 27.0 * 1000.0
        });
        assert_eq!(json!(KnownTiming(&timing)), known);
        let timeline = Timeline::new(Moment::default(), TimelineRoom::default());
        let timing = RequestTiming::new(&timeline, None, 0);
        let nothing = json!({
            "time_to_first_token_ms": null, "generation_time_ms": null, "queue_time_ms": null,
            "mean_itl_ms": null, "tokens_per_second": null, "speculative_decoding": null
        });
        assert_eq!(json!(timing), nothing);
        assert_eq!(json!(KnownTiming(&timing)), json!({}));
    }
}
