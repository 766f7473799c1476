//! Gumbel noise from a counter-based generator.
//!
//! The noise of a token is a pure function of (seed, position, token id): MurmurHash3 over the
//! three, as vLLM's V2 sampler keys it, so a seed gives the text that it gives there wherever the
//! logits agree. It is computed in f64, and the hash alone decides, never the order of draws.

use crate::types::Token;

/// The noise at one position of one generation.
pub(super) struct Noise {
    /// The hash after seed and position; only the token id is left to mix in.
    prefix: u32,
}

impl Noise {
    pub(super) fn new(seed: u64, position: u64) -> Self {
        let words = [seed as u32, (seed >> 32) as u32, position as u32];
        Self { prefix: words.into_iter().fold(0, mix) }
    }

    /// 32 random bits for `token`. Fewer bits give more noise.
    pub(super) fn bits(&self, token: Token) -> u32 {
        // 16 is the length in bytes of what was hashed.
        let mut h = mix(self.prefix, token) ^ 16;
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        h ^ (h >> 16)
    }
}

fn mix(h: u32, key: u32) -> u32 {
    let key = key.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
    (h ^ key).rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64)
}

/// The standard Gumbel value −ln(−ln(1 − u)), where `bits` are those of u in (0, 1).
pub(super) fn gumbel(bits: u32) -> f64 {
    let u = (f64::from(bits) + 0.5) / 2f64.powi(32);
    -(-(-u).ln_1p()).ln()
}
