//! Rows that a device can sample by itself.

use super::adjust;
use super::state::SamplerState;
use crate::types::{SamplingParams, Token};

/// All that a plain draw depends on, beside the row: see [`super`] for what is done with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// 0 takes the best token.
    pub temperature: f32,
    /// 0: all tokens.
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    /// What keys the noise, with the position.
    pub seed: u64,
    pub position: u32,
}

impl Draw {
    /// The best token.
    pub const GREEDY: Self =
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0, position: 0 };

    /// How the token that follows `output` is drawn; `None` when the row is changed before that
    /// (masks, biases, penalties).
    pub fn of(params: &SamplingParams, state: &SamplerState, output: &[Token]) -> Option<Self> {
        if adjust::changes(params, state, output) {
            return None;
        }
        if params.is_greedy() {
            return Some(Self::GREEDY);
        }
        Some(Self {
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            seed: state.seed,
            position: state.position(output) as u32,
        })
    }
}
