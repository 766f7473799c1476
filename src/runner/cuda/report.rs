//! Log-probabilities that the device tells with a sampled token, as `kernels/logprobs.cu` leaves
//! them: 32-bit numbers, so that they come home in one copy with no type of their own.

use crate::sampler::Draw;
use crate::types::{Token, TokenLogprobs};

/// The most tokens of a list.
const MOST: usize = Draw::MOST_REPORTED as usize;
/// Numbers of a row: log-sum-exp, the token's log-probability, its rank, how many are listed; the
/// tokens of the list, and their log-probabilities.
pub(super) const REPORT_LEN: usize = 4 + 2 * MOST;

/// What a row's `report` says of its sampled token.
pub(super) fn decode(token: Token, report: &[i32]) -> TokenLogprobs {
    let float = |bits: i32| f32::from_bits(bits as u32);
    let (head, lists) = report.split_at(4);
    let (tokens, logprobs) = lists.split_at(MOST);
    let listed = tokens.iter().zip(logprobs).take(head[3] as usize);
    TokenLogprobs {
        token,
        logprob: float(head[1]),
        rank: head[2] as u32,
        top: listed.map(|(&token, &bits)| (token as Token, float(bits))).collect(),
    }
}
