//! Sampling parameters as `/render` hands them on: vLLM's `SamplingParams`, without most of what
//! has its default value.

use super::super::fields::Fields;
use super::{Sampling, SamplingFields};
use serde_json::{Map, Value, json};

/// vLLM's default for `max_tokens`, which is left out.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// The digits that the client wrote, not those of the nearest 64-bit number.
fn float(value: f32) -> Value {
    value.to_string().parse::<f64>().unwrap_or(f64::from(value)).into()
}

/// `vllm_xargs` and the parameters of transfers, without the tokens that those may bring.
pub(super) fn extra_args(data: Fields<'_>) -> Map<String, Value> {
    let members = |name: &str| data.dict(name).into_iter().flatten();
    let mut args: Map<String, Value> =
        members("vllm_xargs").map(|(name, value)| (name.clone(), value.to_value())).collect();
    for name in ["kv_transfer_params", "ec_transfer_params"] {
        let kept = members(name).filter(|(member, _)| *member != "prompt_token_ids");
        let params: Map<String, Value> =
            kept.map(|(member, value)| (member.clone(), value.to_value())).collect();
        if !params.is_empty() {
            args.insert(name.to_owned(), Value::Object(params));
        }
    }
    args
}

impl SamplingFields {
    /// The parameters of one prompt.
    pub fn rendered(&self, sampling: &Sampling, stream: bool) -> Map<String, Value> {
        let params = &sampling.params;
        let int = |value: &super::super::super::json::Int| value.saturate();
        let stop_token_ids: Vec<i64> = self.stop_token_ids.iter().map(int).collect();
        let extra_args = Some(&self.extra_args).filter(|args| !args.is_empty());
        let draws = params.temperature > 0.0;
        let grammar = self.constraints.as_ref().ok();
        let optional: [(&str, Option<Value>); 26] = [
            ("n", (sampling.n != 1).then(|| sampling.n.into())),
            ("presence_penalty", Some(float(params.presence_penalty))),
            ("frequency_penalty", Some(float(params.frequency_penalty))),
            ("repetition_penalty", Some(float(params.repetition_penalty))),
            ("temperature", Some(float(params.temperature))),
            // A greedy choice sets these to their defaults.
            ("top_p", draws.then(|| float(params.top_p))),
            ("top_k", draws.then(|| params.top_k.into())),
            ("min_p", draws.then(|| float(params.min_p))),
            ("seed", params.seed.map(Value::from)),
            ("stop", Some(json!(*sampling.stop))),
            ("stop_token_ids", Some(json!(stop_token_ids))),
            (
                "include_stop_str_in_output",
                sampling.include_stop_str_in_output.then_some(Value::Bool(true)),
            ),
            ("ignore_eos", self.ignore_eos.then_some(Value::Bool(true))),
            (
                "max_tokens",
                (params.max_tokens != DEFAULT_MAX_TOKENS).then(|| params.max_tokens.into()),
            ),
            ("min_tokens", (params.min_tokens != 0).then(|| params.min_tokens.into())),
            ("logprobs", self.logprobs.as_ref().map(|count| int(count).into())),
            ("prompt_logprobs", self.prompt_logprobs.as_ref().map(|count| int(count).into())),
            ("skip_special_tokens", (!sampling.skip_special_tokens).then_some(Value::Bool(false))),
            (
                "spaces_between_special_tokens",
                (!sampling.spaces_between_special_tokens).then_some(Value::Bool(false)),
            ),
            // vLLM's RequestOutputKind: deltas for streams, otherwise only the end.
            ("output_kind", Some(if stream { 1 } else { 2 }.into())),
            ("skip_clone", Some(Value::Bool(true))),
            ("structured_outputs", grammar.and_then(|g| g.shown(sampling.grammar.as_ref()))),
            ("logit_bias", self.logit_bias.as_ref().map(|bias| bias.iter().cloned().collect())),
            ("allowed_token_ids", {
                let ids = self.allowed_token_ids.as_ref();
                ids.map(|ids| ids.iter().map(int).collect::<Vec<_>>().into())
            }),
            ("extra_args", extra_args.map(|args| Value::Object(args.clone()))),
            ("bad_words", Some(json!(*sampling.bad_words))),
        ];
        let present = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut all: Map<String, Value> =
            present.map(|(name, value)| (name.to_owned(), value)).collect();
        all.insert("skip_reading_prefix_cache".to_owned(), self.prompt_logprobs.is_some().into());
        if let Some(budget) = self.thinking_token_budget {
            all.insert("thinking_token_budget".to_owned(), budget.into());
        }
        all
    }
}
