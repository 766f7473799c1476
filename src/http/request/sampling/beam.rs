//! What a request says about beam search: few of the sampling fields, as in vLLM.

use super::super::super::json::Int;
use super::super::ranges::{check_temperature, checked_logprobs};
use super::{Limits, MIN_TEMPERATURE, SamplingFields, check_count};
use crate::error::ApiError;
use crate::model::GenerationDefaults;
use crate::types::SamplingParams;
use std::fmt::{self, Display};

/// The parameters of one search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamParams {
    /// How many texts are kept, and given back.
    pub width: usize,
    /// May be below 1: then nothing is generated.
    pub max_tokens: i64,
    pub ignore_eos: bool,
    pub temperature: f64,
    pub length_penalty: f64,
    pub include_stop_str_in_output: bool,
    pub skip_special_tokens: bool,
}

impl SamplingFields {
    /// The search for one prompt.
    pub fn beams(
        &self,
        max_tokens: i64,
        defaults: &GenerationDefaults,
    ) -> Result<BeamParams, ApiError> {
        let one = Int::Small(1);
        Ok(BeamParams {
            width: check_count(self.n.as_ref().unwrap_or(&one), "beam_width")?,
            max_tokens,
            ignore_eos: self.ignore_eos,
            temperature: self
                .temperature
                .unwrap_or_else(|| defaults.temperature.map_or(1.0, f64::from)),
            length_penalty: self.length_penalty,
            include_stop_str_in_output: self.include_stop_str_in_output,
            skip_special_tokens: self.skip_special_tokens,
        })
    }
}

impl BeamParams {
    /// What each beam asks of the engine: one token, and the candidates for it.
    pub fn step(&self, limits: &Limits) -> Result<SamplingParams, ApiError> {
        let temperature = match self.temperature {
            t if t > 0.0 && t < MIN_TEMPERATURE => MIN_TEMPERATURE,
            t => t,
        };
        check_temperature(temperature)?;
        let candidates = Int::Small(2 * self.width as i64);
        let logprobs = checked_logprobs(Some(&candidates), "sample", "logprobs", limits)?;
        let temperature = temperature as f32;
        Ok(SamplingParams { temperature, logprobs, ..SamplingParams::greedy(1) })
    }
}

impl Display for BeamParams {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let python = |flag| if flag { "True" } else { "False" };
        write!(
            f,
            "BeamSearchParams(beam_width={}, max_tokens={}, ignore_eos={}, temperature={:?}, \
             length_penalty={:?}, include_stop_str_in_output={}, structured_outputs=None, \
             skip_special_tokens={}, watermarking=None)",
            self.width,
            self.max_tokens,
            python(self.ignore_eos),
            self.temperature,
            self.length_penalty,
            python(self.include_stop_str_in_output),
            python(self.skip_special_tokens),
        )
    }
}
