//! The few rules of Python that show through vLLM's command line and metrics: how it reads
//! numbers and how it writes values.

use std::fmt::Write;

/// `int(text)`: surrounding space, a sign, digits with single underscores between them.
pub(super) fn int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let plain = plain_digits(digits)?;
    let magnitude: i64 = plain.parse().ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Digits without their underscores; `None` when something else is among them.
fn plain_digits(digits: &str) -> Option<String> {
    let grouped = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits.split('_').all(grouped).then(|| digits.replace('_', ""))
}

/// `float(text)`, without underscores.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    let body = text.trim_start_matches(['+', '-']);
    let known = ["inf", "infinity", "nan"].iter().any(|word| body.eq_ignore_ascii_case(word));
    let number = body.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if known || number { text.parse().ok() } else { None }
}

/// Why a human-readable integer is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HumanIntError {
    NotANumber,
    /// `1.5K`: the number and its suffix.
    DecimalsWithBinarySuffix(String, char),
}

/// An integer, or a number with a decimal (`k m g t`) or a binary (`K M G T`) suffix.
pub(super) fn human_int(text: &str) -> Result<i64, HumanIntError> {
    let text = text.trim();
    let suffix = text.chars().last().filter(|c| "kmgtKMGT".contains(*c));
    let Some(suffix) = suffix else { return int(text).ok_or(HumanIntError::NotANumber) };
    let number = &text[..text.len() - 1];
    let whole_and_part = number.split_once('.');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let well_formed = match whole_and_part {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(number),
    };
    if !well_formed {
        return Err(HumanIntError::NotANumber);
    }
    let power = 1 + "kmgt".find(suffix.to_ascii_lowercase()).unwrap_or(0) as u32;
    if suffix.is_ascii_lowercase() {
        let value: f64 = number.parse().map_err(|_| HumanIntError::NotANumber)?;
        return Ok((value * 1000f64.powi(power as i32)) as i64);
    }
    if whole_and_part.is_some() {
        return Err(HumanIntError::DecimalsWithBinarySuffix(number.to_owned(), suffix));
    }
    let value: i64 = number.parse().map_err(|_| HumanIntError::NotANumber)?;
    value.checked_mul(1024i64.pow(power)).ok_or(HumanIntError::NotANumber)
}

/// `repr(text)`.
pub(super) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            // Writing to a string cannot fail.
            c if (c as u32) < 0x20 || c as u32 == 0x7f => drop(write!(out, "\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// `repr(value)` of a float: the shortest digits that give it back, with a point or an exponent.
pub fn repr_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_python_reads_them() {
        assert_eq!(int(" 8_000 "), Some(8000));
        assert_eq!(int("-1"), Some(-1));
        assert_eq!(int("+7"), Some(7));
        for bad in ["", "_1", "1_", "1__0", "1.0", "x", "- 1", "99999999999999999999"] {
            assert_eq!(int(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn human_integers() {
        let decimals = |n: &str, c| Err(HumanIntError::DecimalsWithBinarySuffix(n.to_owned(), c));
        for (text, value) in [("1k", 1000), ("1K", 1024), ("25.6k", 25_600), ("2M", 2 << 20)] {
            assert_eq!(human_int(text), Ok(value));
        }
        assert_eq!(human_int(" 80g "), Ok(80_000_000_000));
        assert_eq!(human_int("0.5k"), Ok(500));
        assert_eq!(human_int("-5"), Ok(-5));
        assert_eq!(human_int("1.5K"), decimals("1.5", 'K'));
        for bad in ["", "k", "-5k", "1e3k", ".5k", "1_0k", "9999999999999999T"] {
            assert_eq!(human_int(bad), Err(HumanIntError::NotANumber), "{bad:?}");
        }
    }

    #[test]
    fn floats_as_python_reads_and_writes_them() {
        assert_eq!(float("1e-1"), Some(0.1));
        assert_eq!(float(".5"), Some(0.5));
        assert!(float("NaN").is_some_and(f64::is_nan));
        assert_eq!(float("-Infinity"), Some(f64::NEG_INFINITY));
        for bad in ["", "e5", "abc", "--1"] {
            assert_eq!(float(bad), None, "{bad:?}");
        }
        for (value, text) in [
            (1.0, "1.0"),
            (0.92, "0.92"),
            (1e16, "1e+16"),
            (123456789012345.0, "123456789012345.0"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e300, "1e+300"),
            (0.0, "0.0"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(repr_float(value), text);
        }
    }

    #[test]
    fn strings_as_python_writes_them() {
        assert_eq!(repr("x"), "'x'");
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr("'\""), "'\\'\"'");
        assert_eq!(repr("a\nb\u{1}"), "'a\\nb\\x01'");
    }
}
