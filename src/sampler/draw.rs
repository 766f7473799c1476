//! Temperature, `min_p`, `top_k`, `top_p`, and the draw itself.

use super::math::{self, BLOCK};
use super::noise::{Noise, gumbel};
use super::plain::Draw;
use super::select::Selection;
use crate::types::Token;

/// Draws a token at a temperature above 0. Dividing by the temperature keeps the order, so it is
/// done only where a value is needed, not in a pass of its own.
pub(super) fn draw(params: &Draw, selection: &mut Selection, logits: &[f32]) -> Token {
    let scale = Scale::of(logits, params.temperature);
    if !scale.best.is_finite() {
        // Nothing is possible, or something is certain.
        return math::argmax(logits);
    }
    let noise = Noise::new(params.seed, u64::from(params.position));
    if !pick(params, &scale, logits, selection) {
        return draw_from_all(&noise, scale.temperature, logits);
    }
    let mut winner = Winner::none();
    for (token, logit) in selection.iter() {
        winner.challenge(token, f64::from(scale.apply(logit)) + gumbel(noise.bits(token)));
    }
    winner.token
}

/// The scaled row, as far as it is needed.
pub(super) struct Scale {
    temperature: f32,
    /// The largest scaled logit.
    best: f32,
}

impl Scale {
    pub(super) fn of(logits: &[f32], temperature: f32) -> Self {
        Self { temperature, best: math::max(logits) / temperature }
    }

    fn apply(&self, logit: f32) -> f32 {
        logit / self.temperature
    }

    /// Proportional to the probability; 1 for the most likely token.
    fn weight(&self, logit: f32) -> f32 {
        math::exp(self.apply(logit) - self.best)
    }
}

/// Picks the tokens that may be drawn; false when that is all of them, and none was picked.
pub(super) fn pick(
    params: &Draw,
    scale: &Scale,
    logits: &[f32],
    selection: &mut Selection,
) -> bool {
    let top_k = params.top_k as usize;
    let has_top_k = (1..logits.len()).contains(&top_k);
    let has_top_p = params.top_p < 1.0;
    let has_min_p = params.min_p > 0.0;
    if !has_top_k && !has_top_p && !has_min_p {
        return false;
    }
    // Of the scaled row, min_p keeps what is at least this.
    let floor = if has_min_p { scale.best + params.min_p.ln() } else { f32::NEG_INFINITY };
    let top_p = f64::from(params.top_p);
    let mut total = None;
    if has_top_k {
        selection.take_best(logits, top_k);
    } else if has_min_p {
        take_scaled_from(selection, scale, logits, floor);
    } else {
        // Tokens of less than (1 − top_p) / vocabulary cannot weigh 1 − top_p together.
        let sum = math::sum_exp(logits, scale.temperature, scale.best);
        let negligible = (1.0 - top_p) * sum / logits.len() as f64;
        take_scaled_from(selection, scale, logits, scale.best + negligible.ln() as f32);
        total = Some(sum);
    }
    selection.retain(|logit| logit > f32::NEG_INFINITY && scale.apply(logit) >= floor);
    if has_top_p {
        let total = total.unwrap_or_else(|| {
            selection.iter().map(|(_, logit)| f64::from(scale.weight(logit))).sum()
        });
        selection.keep_mass(top_p * total, |logit| scale.weight(logit));
    }
    true
}

/// Writes the row that [`draw`] draws from to `row`: scaled, and impossible where it draws nothing.
pub(super) fn process(
    params: &Draw,
    selection: &mut Selection,
    logits: &[f32],
    row: &mut Vec<f32>,
) {
    let scale = Scale::of(logits, params.temperature);
    row.clear();
    if !scale.best.is_finite() || !pick(params, &scale, logits, selection) {
        row.extend(logits.iter().map(|&logit| scale.apply(logit)));
        return;
    }
    row.resize(logits.len(), f32::NEG_INFINITY);
    for (token, logit) in selection.iter() {
        row[token as usize] = scale.apply(logit);
    }
}

/// Picks what is at least `bound` after scaling, and at worst a little more: a rounding error
/// must not lose a token.
fn take_scaled_from(selection: &mut Selection, scale: &Scale, logits: &[f32], bound: f32) {
    let raw = bound * scale.temperature;
    selection.take_from(logits, (raw - raw.abs() * 1e-6).max(f32::MIN));
}

/// The draw over a whole row. A block is passed over when not even its best logit with its
/// strongest noise could win, which spares nearly all logarithms.
fn draw_from_all(noise: &Noise, temperature: f32, logits: &[f32]) -> Token {
    /// Covers what rounding may add to a score.
    const SLACK: f64 = 1e-3;
    let mut winner = Winner::none();
    let mut bits = [0; BLOCK];
    for (i, block) in logits.chunks(BLOCK).enumerate() {
        let start = (i * BLOCK) as Token;
        let bits = &mut bits[..block.len()];
        for (j, bits) in bits.iter_mut().enumerate() {
            *bits = noise.bits(start + j as Token);
        }
        let strongest = gumbel(bits.iter().copied().fold(u32::MAX, u32::min));
        let best = f64::from(math::max(block) / temperature);
        if best + strongest + SLACK < winner.score {
            continue;
        }
        for (j, (&logit, &bits)) in block.iter().zip(&*bits).enumerate() {
            let scaled = f64::from(logit / temperature);
            if scaled + strongest + SLACK >= winner.score {
                winner.challenge(start + j as Token, scaled + gumbel(bits));
            }
        }
    }
    winner.token
}

/// The token of the highest score; the lower id on ties.
struct Winner {
    token: Token,
    score: f64,
}

impl Winner {
    fn none() -> Self {
        Self { token: 0, score: f64::NEG_INFINITY }
    }

    fn challenge(&mut self, token: Token, score: f64) {
        if score > self.score || (score == self.score && token < self.token) {
            *self = Self { token, score };
        }
    }
}
