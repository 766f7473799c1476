//! The ranges of sampling parameters.

use super::super::json::{Int, Json, float_repr, repr};
use super::super::schema::coerce;
use super::sampling::Limits;
use crate::error::ApiError;
use crate::types::Token;

pub fn check_penalties(presence: f64, frequency: f64, repetition: f64) -> Result<(), ApiError> {
    for (name, value) in [("presence_penalty", presence), ("frequency_penalty", frequency)] {
        if !(-2.0..=2.0).contains(&value) {
            let value = float_repr(value);
            return Err(ApiError::bad_request(format!("{name} must be in [-2, 2], got {value}.")));
        }
    }
    let rule = if !repetition.is_finite() {
        "a finite number"
    } else if repetition <= 0.0 {
        "greater than zero"
    } else {
        return Ok(());
    };
    let value = float_repr(repetition);
    Err(ApiError::bad_request(format!("repetition_penalty must be {rule}, got {value}.")))
}

pub fn check_temperature(temperature: f64) -> Result<(), ApiError> {
    let rule = if !temperature.is_finite() {
        "a finite number"
    } else if temperature < 0.0 {
        "non-negative"
    } else if temperature > 2.0 {
        "in [0, 2]"
    } else {
        return Ok(());
    };
    let value = float_repr(temperature);
    let message = format!("temperature must be {rule}, got {value}.");
    Err(ApiError::parameter(message, "temperature", Some(&value)))
}

pub fn check_truncation(top_p: f64, top_k: &Int, min_p: f64) -> Result<(), ApiError> {
    if !(top_p > 0.0 && top_p <= 1.0) {
        let value = float_repr(top_p);
        let message = format!("top_p must be in (0, 1], got {value}.");
        return Err(ApiError::parameter(message, "top_p", Some(&value)));
    }
    if *top_k < -1 {
        let message = format!("top_k must be 0 (disable), or at least 1, got {top_k}.");
        return Err(ApiError::bad_request(message));
    }
    if !(0.0..=1.0).contains(&min_p) {
        let message = format!("min_p must be in [0, 1], got {}.", float_repr(min_p));
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

/// A count of log-probabilities within `--max-logprobs`; -1 is the whole vocabulary.
pub fn checked_logprobs(
    count: Option<&Int>,
    what: &str,
    name: &str,
    limits: &Limits,
) -> Result<Option<i32>, ApiError> {
    let Some(count) = count else { return Ok(None) };
    let vocab = i64::from(limits.vocab_size);
    let max = if limits.max_logprobs == -1 { vocab } else { limits.max_logprobs };
    let wanted = if *count == -1 { Int::Small(vocab) } else { count.clone() };
    if wanted > max {
        let message = format!(
            "Requested {what} logprobs of {wanted}, which is greater than max allowed: {max}"
        );
        return Err(ApiError::parameter(message, name, Some(&wanted.to_string())));
    }
    Ok(Some(count.saturate() as i32))
}

pub fn outside(ids: &[Int], limits: &Limits) -> Vec<Int> {
    let fits = |id: &Int| *id >= 0 && *id < i64::from(limits.vocab_size);
    ids.iter().filter(|id| !fits(id)).cloned().collect()
}

/// Token ids that the vocabulary holds.
pub fn checked_tokens(ids: &[Int], name: &str, limits: &Limits) -> Result<Vec<Token>, ApiError> {
    let outside = outside(ids, limits);
    if outside.is_empty() {
        return Ok(ids.iter().map(to_token).collect());
    }
    let (ids, size) = (list(&outside), limits.vocab_size);
    let verb = "contain out-of-vocab token ids. Vocabulary size:";
    let message = format!("token_id(s) {ids} in {name} {verb} {size}");
    Err(ApiError::parameter(message, name, Some(&ids)))
}

pub fn to_token(id: &Int) -> Token {
    Token::try_from(id.saturate()).unwrap_or(Token::MAX)
}

/// Python's `int(text)`.
pub fn python_int(key: &str) -> Option<Int> {
    (!key.contains('.')).then(|| coerce::int(&Json::Str(key.into())).ok())?
}

pub fn list(ids: &[Int]) -> String {
    repr(&Json::List(ids.iter().cloned().map(Json::Int).collect()))
}

/// As Python's `min(100, max(-100, bias))`, which makes NaN the lower bound.
pub fn clamp_bias(bias: f64) -> f32 {
    if bias.is_nan() { -100.0 } else { bias.clamp(-100.0, 100.0) as f32 }
}
