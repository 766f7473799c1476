//! The best tokens of a row without sorting it.

use super::math;
use crate::types::Token;

/// Tokens picked from a row, as keys whose order is that of the logits, then of falling ids:
/// a larger key is a better token, and no two are equal.
pub(super) struct Selection {
    keys: Vec<u64>,
}

/// Elements tested at once against the bound for getting in.
const STRIDE: usize = 64;

impl Selection {
    pub(super) fn with_capacity(vocab: usize) -> Self {
        Self { keys: Vec::with_capacity(vocab) }
    }

    /// Picks exactly the `n` best tokens (all, if there are fewer), in no order.
    pub(super) fn take_best(&mut self, row: &[f32], n: usize) {
        self.keys.clear();
        if n == 0 {
            return;
        }
        // Keep up to twice as many as wanted, then drop the worse half: each token that gets in
        // costs O(1) on average, and few do, since the bound rises quickly.
        let limit = (2 * n).max(4 * STRIDE);
        let mut bound = None;
        for (i, chunk) in row.chunks(STRIDE).enumerate() {
            if bound.is_some_and(|bound| math::max(chunk) <= bound) {
                continue;
            }
            for (j, &logit) in chunk.iter().enumerate() {
                // A later token of equal logit has a higher id and loses.
                if bound.is_none_or(|bound| logit > bound) {
                    self.keys.push(key((i * STRIDE + j) as Token, logit));
                }
            }
            if self.keys.len() >= limit {
                self.keep_best(n);
                bound = Some(logit(self.keys[n - 1]));
            }
        }
        self.keep_best(n);
    }

    /// Picks all tokens whose logit is at least `bound`, which is not −∞; in order of ids.
    pub(super) fn take_from(&mut self, row: &[f32], bound: f32) {
        self.keys.clear();
        for (i, chunk) in row.chunks(STRIDE).enumerate() {
            if math::max(chunk) < bound {
                continue;
            }
            for (j, &logit) in chunk.iter().enumerate() {
                if logit >= bound {
                    self.keys.push(key((i * STRIDE + j) as Token, logit));
                }
            }
        }
    }

    /// Drops all but the `n` best; the n-th best is then the last.
    fn keep_best(&mut self, n: usize) {
        if self.keys.len() > n {
            self.keys.select_nth_unstable_by(n - 1, |a, b| b.cmp(a));
            self.keys.truncate(n);
        }
    }

    /// Drops tokens whose logit does not pass.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(f32) -> bool) {
        self.keys.retain(|&key| keep(logit(key)));
    }

    /// Keeps the shortest run of best tokens whose weights sum up to at least `mass`: a token
    /// stays when what is better than it weighs less than that.
    pub(super) fn keep_mass(&mut self, mass: f64, weight: impl Fn(f32) -> f32) {
        let weigh = |keys: &[u64]| keys.iter().map(|&k| f64::from(weight(logit(k)))).sum::<f64>();
        // keys[..low] stay and weigh `above`; keys[high..] go; what lies between is halved.
        let (mut low, mut high, mut above) = (0, self.keys.len(), 0.0);
        while high - low > STRIDE {
            let half = (high - low) / 2;
            self.keys[low..high].select_nth_unstable_by(half, |a, b| b.cmp(a));
            let better = weigh(&self.keys[low..low + half]);
            if above + better >= mass {
                high = low + half;
            } else {
                above += better;
                low += half;
            }
        }
        self.keys[low..high].sort_unstable_by(|a, b| b.cmp(a));
        while low < high && above < mass {
            above += weigh(&self.keys[low..low + 1]);
            low += 1;
        }
        self.keys.truncate(low.max(1));
    }

    /// Best first.
    pub(super) fn sort(&mut self) {
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, f32)> {
        self.keys.iter().map(|&key| (!(key as u32), logit(key)))
    }
}

/// NaN is put last, beside −∞; −0 is 0.
fn key(token: Token, logit: f32) -> u64 {
    let logit = if logit.is_nan() { f32::NEG_INFINITY } else { logit + 0.0 };
    let bits = logit.to_bits();
    // Negative floats order the wrong way round and below the positive ones.
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!token)
}

fn logit(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}
