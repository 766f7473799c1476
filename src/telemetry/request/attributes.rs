//! What `llm_request` says: vLLM's keys with vLLM's meaning, OpenTelemetry's conventions for
//! generative AI beside them, and the exact account of the time.
//!
//! vLLM's latencies are seconds as doubles and leave gaps between them; `glassbox.latency.*` are
//! integers of nanoseconds that add up.

use super::{Failure, GenerationRecord, Outcome, RequestRecord};
use crate::types::{FinishReason, Moment};
use opentelemetry::{Array, KeyValue, StringValue, Value};

/// An integer attribute. Times are nanoseconds.
pub fn int(key: &'static str, value: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX))
}

fn seconds(key: &'static str, from: Moment, to: Moment) -> KeyValue {
    KeyValue::new(key, to.since(from).as_secs_f64())
}

/// A double with the digits of the single that was computed with: 0.7, not 0.699999988.
fn double(key: &'static str, value: f32) -> KeyValue {
    KeyValue::new(key, value.to_string().parse().unwrap_or(f64::from(value)))
}

/// All attributes of one `llm_request`.
pub fn attributes(
    record: &RequestRecord,
    generation: Option<&GenerationRecord>,
    failure: Option<&Failure>,
) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(48);
    request(&mut out, record);
    if let Some(generation) = generation {
        usage(&mut out, generation);
        sampling(&mut out, record, generation);
        latencies(&mut out, record, generation);
    } else if let Some(arrival) = record.arrival {
        out.push(seconds("gen_ai.latency.e2e", arrival, record.end));
    }
    account(&mut out, record, generation);
    if let Some(failure) = failure {
        out.push(KeyValue::new("error.type", failure.kind.clone()));
    }
    out
}

/// Which model, which API, which reply.
fn request(out: &mut Vec<KeyValue>, record: &RequestRecord) {
    let asked = &record.asked;
    let model = asked.model.as_ref().filter(|model| !model.is_empty()).unwrap_or(&record.model);
    out.push(KeyValue::new("gen_ai.operation.name", record.api.operation));
    out.push(KeyValue::new("gen_ai.provider.name", "glassbox"));
    out.push(KeyValue::new("gen_ai.request.model", model.clone()));
    out.push(KeyValue::new("http.request.method", "POST"));
    out.push(KeyValue::new("http.route", record.api.route));
    if let Some((_, status)) = record.replied {
        out.push(int("http.response.status_code", status.into()));
    }
    if asked.response_id.is_empty() {
        return;
    }
    out.push(KeyValue::new("gen_ai.response.id", asked.response_id.clone()));
    out.push(KeyValue::new("gen_ai.response.model", record.model.clone()));
    out.push(KeyValue::new("gen_ai.request.stream", asked.stream));
    if asked.n > 1 {
        out.push(int("gen_ai.request.choice.count", asked.n as u64));
    }
    if !asked.stop.is_empty() {
        out.push(KeyValue::new("gen_ai.request.stop_sequences", strings(asked.stop.iter())));
    }
    if let Some(session) = &asked.session {
        out.push(KeyValue::new("gen_ai.conversation.id", session.clone()));
    }
}

fn strings<'a>(texts: impl Iterator<Item = &'a String>) -> Value {
    let texts: Vec<StringValue> = texts.map(|text| StringValue::from(text.clone())).collect();
    Value::Array(Array::String(texts))
}

/// Token counts, under vLLM's names and the convention's.
fn usage(out: &mut Vec<KeyValue>, generation: &GenerationRecord) {
    let (prompt, completion) = (generation.prompt_tokens, generation.completion_tokens);
    out.push(int("gen_ai.usage.prompt_tokens", prompt.into()));
    out.push(int("gen_ai.usage.completion_tokens", completion.into()));
    out.push(int("gen_ai.usage.input_tokens", prompt.into()));
    out.push(int("gen_ai.usage.output_tokens", completion.into()));
    let cached = generation.timeline.cached;
    out.push(int("gen_ai.usage.cache_read.input_tokens", cached.into()));
    if let Outcome::Finished(reason) = generation.outcome {
        let reason = Array::String(vec![reason.as_str().into()]);
        out.push(KeyValue::new("gen_ai.response.finish_reasons", Value::Array(reason)));
    }
}

/// Parameters as they were resolved; a temperature of 0 is one too.
fn sampling(out: &mut Vec<KeyValue>, record: &RequestRecord, generation: &GenerationRecord) {
    let params = &generation.params;
    out.push(KeyValue::new("gen_ai.request.id", generation.id.clone()));
    out.push(double("gen_ai.request.temperature", params.temperature));
    out.push(double("gen_ai.request.top_p", params.top_p));
    out.push(int("gen_ai.request.max_tokens", params.max_tokens.into()));
    // Each of the n replies is a request of its own to vLLM's engine.
    out.push(int("gen_ai.request.n", 1));
    if params.top_k > 0 {
        out.push(KeyValue::new("gen_ai.request.top_k", f64::from(params.top_k)));
    }
    if params.frequency_penalty != 0.0 {
        out.push(double("gen_ai.request.frequency_penalty", params.frequency_penalty));
    }
    if params.presence_penalty != 0.0 {
        out.push(double("gen_ai.request.presence_penalty", params.presence_penalty));
    }
    if let Some(seed) = params.seed {
        out.push(KeyValue::new("gen_ai.request.seed", seed));
    }
    if let (true, Some(first)) = (record.asked.stream, generation.first_heard) {
        out.push(seconds("gen_ai.response.time_to_first_chunk", record.start, first));
    }
}

/// vLLM's latencies, as far as the request came; vLLM shows negative ones for the rest.
fn latencies(out: &mut Vec<KeyValue>, record: &RequestRecord, generation: &GenerationRecord) {
    let timeline = &generation.timeline;
    let arrival = record.arrival.unwrap_or(record.start);
    out.push(seconds("gen_ai.latency.e2e", arrival, generation.closed));
    if let Some(first) = generation.first_heard {
        out.push(seconds("gen_ai.latency.time_to_first_token", arrival, first));
    }
    let (Some(queued), Some(scheduled)) = (timeline.queued, timeline.scheduled) else { return };
    out.push(seconds("gen_ai.latency.time_in_queue", queued, scheduled));
    let (Some(first), Some(last)) = (timeline.first_token, generation.last_token) else { return };
    out.push(seconds("gen_ai.latency.time_in_model_prefill", scheduled, first));
    out.push(seconds("gen_ai.latency.time_in_model_decode", first, last));
    out.push(seconds("gen_ai.latency.time_in_model_inference", scheduled, last));
}

/// The parts that add up, and what disturbed them.
fn account(out: &mut Vec<KeyValue>, record: &RequestRecord, generation: Option<&GenerationRecord>) {
    let parts = record.parts(generation);
    out.push(int("glassbox.latency.ingress", parts.ingress));
    out.push(int("glassbox.latency.queue", parts.queue));
    out.push(int("glassbox.latency.transfer", parts.transfer));
    out.push(int("glassbox.latency.prefill", parts.prefill));
    out.push(int("glassbox.latency.preempted", parts.preempted));
    out.push(int("glassbox.latency.decode", parts.decode));
    out.push(int("glassbox.latency.egress", parts.egress));
    out.push(int("glassbox.latency.e2e", parts.e2e));
    if let Some(generation) = generation {
        out.push(int("glassbox.preemptions", generation.timeline.preemptions.into()));
    }
}

/// What went wrong with a generation, or with a request that had none.
pub fn failure(record: &RequestRecord, generation: Option<&GenerationRecord>) -> Option<Failure> {
    let kind = match generation.map(|generation| generation.outcome) {
        Some(Outcome::Finished(FinishReason::Abort)) => "aborted",
        Some(Outcome::Finished(FinishReason::Error) | Outcome::Lost) => "engine_error",
        None | Some(Outcome::Finished(_)) if record.delivered => return record.failure.clone(),
        _ => "client_disconnected",
    };
    let unnamed = || Failure { kind: kind.to_owned(), about: None };
    Some(record.failure.clone().unwrap_or_else(unnamed))
}
