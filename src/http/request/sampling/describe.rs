//! Sampling parameters as vLLM's log shows them.

use super::super::super::json::{float_repr, str_repr};
use super::{Sampling, SamplingFields};
use std::fmt::{self, Display};

/// The parameters of one prompt, as Python prints vLLM's `SamplingParams`.
pub struct Described<'a> {
    pub fields: &'a SamplingFields,
    pub sampling: &'a Sampling,
}

impl Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { fields, sampling } = self;
        let params = &sampling.params;
        let constraints = fields.constraints.as_ref().is_ok_and(|c| !c.is_empty());
        let members: [(&str, &dyn Display); 24] = [
            ("n", &sampling.n),
            ("presence_penalty", &Float(params.presence_penalty)),
            ("frequency_penalty", &Float(params.frequency_penalty)),
            ("repetition_penalty", &Float(params.repetition_penalty)),
            ("temperature", &Float(params.temperature)),
            ("watermarking", &"None"),
            ("top_p", &Float(params.top_p)),
            ("top_k", &params.top_k),
            ("min_p", &Float(params.min_p)),
            ("seed", &Maybe(params.seed.as_ref())),
            ("stop", &Texts(&sampling.stop)),
            ("stop_token_ids", &Items(&fields.stop_token_ids)),
            ("bad_words", &Texts(&sampling.bad_words)),
            ("thinking_token_budget", &Maybe(fields.thinking_token_budget.as_ref())),
            ("include_stop_str_in_output", &Bool(sampling.include_stop_str_in_output)),
            ("ignore_eos", &Bool(fields.ignore_eos)),
            ("max_tokens", &params.max_tokens),
            ("min_tokens", &params.min_tokens),
            ("logprobs", &Maybe(fields.logprobs.as_ref())),
            ("prompt_logprobs", &Maybe(fields.prompt_logprobs.as_ref())),
            ("skip_special_tokens", &Bool(sampling.skip_special_tokens)),
            ("spaces_between_special_tokens", &Bool(sampling.spaces_between_special_tokens)),
            // Its content is the client's: schemas, words, grammars.
            (
                "structured_outputs",
                &if constraints { "StructuredOutputsParams(...)" } else { "None" },
            ),
            ("extra_args", &"None"),
        ];
        f.write_str("SamplingParams(")?;
        for (at, (name, value)) in members.iter().enumerate() {
            write!(f, "{}{name}={value}", if at > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

struct Bool(bool);

impl Display for Bool {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.0 { "True" } else { "False" })
    }
}

/// With the digits that the client wrote, not those of the nearest 64-bit number.
struct Float(f32);

impl Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let value = self.0.to_string().parse().unwrap_or(f64::from(self.0));
        f.write_str(&float_repr(value))
    }
}

struct Maybe<'a, T>(Option<&'a T>);

impl<T: Display> Display for Maybe<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("None"),
        }
    }
}

struct Items<'a, T>(&'a [T]);

impl<T: Display> Display for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let items: Vec<String> = self.0.iter().map(T::to_string).collect();
        write!(f, "[{}]", items.join(", "))
    }
}

struct Texts<'a>(&'a [String]);

impl Display for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let items: Vec<String> = self.0.iter().map(|text| str_repr(text)).collect();
        Items(&items).fmt(f)
    }
}
