//! The metrics' settings: bounds of histogram buckets, hidden metrics.

use super::python;
use serde_json::Value as Json;

/// A family of histograms that share their buckets, as `--custom-histogram-buckets` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketFamily {
    InterTokenLatency,
    IterationTokens,
    KvCacheResidency,
    RequestLatency,
    RequestNumPreemptions,
    RequestParamsN,
    RequestTokens,
    TimeToFirstToken,
}

use BucketFamily::*;

/// In the order of their names.
const FAMILIES: [(&str, BucketFamily); 8] = [
    ("inter_token_latency", InterTokenLatency),
    ("iteration_tokens", IterationTokens),
    ("kv_cache_residency", KvCacheResidency),
    ("request_latency", RequestLatency),
    ("request_num_preemptions", RequestNumPreemptions),
    ("request_params_n", RequestParamsN),
    ("request_tokens", RequestTokens),
    ("time_to_first_token", TimeToFirstToken),
];

/// How metrics are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSettings {
    /// Bounds in place of the defaults: never empty, ascending, positive and finite.
    custom_buckets: Vec<(BucketFamily, Vec<f64>)>,
    /// The share of KV blocks whose lives are measured, in (0, 1]; `None`: of none.
    pub residency_sample: Option<f64>,
    /// Whether the cost of steps is estimated.
    pub estimates_costs: bool,
}

impl MetricsSettings {
    /// The bounds of a family's buckets for a model with this context length.
    pub fn buckets(&self, family: BucketFamily, max_model_len: usize) -> Vec<f64> {
        let custom = self.custom_buckets.iter().find(|(name, _)| *name == family);
        match custom {
            Some((_, bounds)) => bounds.clone(),
            None if family == RequestTokens => one_two_five(max_model_len),
            None => defaults(family).to_vec(),
        }
    }
}

/// vLLM's bounds: seconds, tokens or counts.
fn defaults(family: BucketFamily) -> &'static [f64] {
    match family {
        RequestLatency => &[
            0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
            120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
        ],
        TimeToFirstToken => &[
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
            10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
        ],
        InterTokenLatency => &[
            0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
            10.0, 20.0, 40.0, 80.0,
        ],
        IterationTokens => &[
            1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
            16384.0,
        ],
        RequestParamsN => &[1.0, 2.0, 5.0, 10.0, 20.0],
        RequestNumPreemptions => &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0],
        KvCacheResidency => &[
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0,
            60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0,
        ],
        // These depend on the context length.
        RequestTokens => &[],
    }
}

/// 1, 2, 5, 10, 20, … up to `most`.
fn one_two_five(most: usize) -> Vec<f64> {
    let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(10));
    let all = powers.flat_map(|power| [1, 2, 5].map(|digit| power.checked_mul(digit)));
    all.flatten().take_while(|bound| *bound <= most as u64).map(|bound| bound as f64).collect()
}

/// Reads `--custom-histogram-buckets` and `--show-hidden-metrics-for-version`.
///
/// # Errors
/// One sentence.
pub(super) fn read(buckets: &Json, hidden_since: Option<&str>) -> Result<MetricsSettings, String> {
    if let Some(version) = hidden_since {
        // vLLM 0.32 hides no metric, so there is none to show again; it checks the version too.
        check_version(version)?;
    }
    Ok(MetricsSettings { custom_buckets: read_buckets(buckets)?, ..MetricsSettings::default() })
}

fn check_version(text: &str) -> Result<(), String> {
    let digits = text.trim().trim_start_matches(['v', 'V']);
    let release = digits.split(['a', 'b', 'r', 'c', '.', '+', '-', '_', '!', 'd', 'p']);
    let starts_well = release
        .clone()
        .next()
        .is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let known = |c: char| c.is_ascii_alphanumeric() || ".+-_!".contains(c);
    if starts_well && digits.chars().all(known) {
        return Ok(());
    }
    Err(format!(
        "argument --show-hidden-metrics-for-version: Invalid version: {}",
        python::repr(text)
    ))
}

fn read_buckets(buckets: &Json) -> Result<Vec<(BucketFamily, Vec<f64>)>, String> {
    let name = "argument --custom-histogram-buckets";
    let families = match buckets {
        Json::Null => return Ok(Vec::new()),
        Json::Object(families) => families,
        other => return Err(format!("{name}: must be a JSON object, not {other}")),
    };
    let read = |(family, bounds): (&String, &Json)| {
        let known = FAMILIES.iter().find(|(known, _)| known == family);
        let Some((_, found)) = known else {
            let known: Vec<_> = FAMILIES.iter().map(|(known, _)| format!("'{known}'")).collect();
            return Err(format!(
                "{name}: unknown bucket family {}; known families: [{}]",
                python::repr(family),
                known.join(", ")
            ));
        };
        let bounds = read_bounds(bounds).map_err(|why| format!("{name}: {family}: {why}"))?;
        Ok((*found, bounds))
    };
    families.iter().map(read).collect()
}

fn read_bounds(bounds: &Json) -> Result<Vec<f64>, String> {
    let Json::Array(bounds) = bounds else {
        return Err(format!("must be a list of numbers, not {bounds}"));
    };
    if bounds.is_empty() {
        return Err("the list of bounds must not be empty".to_owned());
    }
    let number = |bound: &Json| match bound.as_f64() {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err(format!("a bound must be a finite number greater than 0, not {bound}")),
    };
    let values = bounds.iter().map(number).collect::<Result<Vec<f64>, _>>()?;
    if values.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("bounds must be strictly increasing: {}", Json::from(bounds.clone())));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn token_buckets_end_at_the_context_length() {
        let buckets = |len| MetricsSettings::default().buckets(RequestTokens, len);
        assert_eq!(buckets(1), [1.0]);
        assert_eq!(buckets(20), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(buckets(4096).last(), Some(&2000.0));
        assert_eq!(buckets(usize::MAX).last(), Some(&1e19));
    }

    #[test]
    fn custom_buckets_take_the_place_of_the_family() {
        let custom = json!({"request_latency": [0.01, 1, 2.5], "request_tokens": [100]});
        let settings = read(&custom, None).expect("good buckets");
        assert_eq!(settings.buckets(RequestLatency, 9), [0.01, 1.0, 2.5]);
        assert_eq!(settings.buckets(RequestTokens, 9), [100.0]);
        assert_eq!(settings.buckets(RequestParamsN, 9), [1.0, 2.0, 5.0, 10.0, 20.0]);
    }

    #[test]
    fn bad_buckets_are_refused() {
        for (bad, why) in [
            (json!([1]), "must be a JSON object"),
            (json!({"x": [1]}), "unknown bucket family 'x'"),
            (json!({"request_tokens": 1}), "must be a list"),
            (json!({"request_tokens": []}), "must not be empty"),
            (json!({"request_tokens": [0]}), "greater than 0"),
            (json!({"request_tokens": [true]}), "greater than 0, not true"),
            (json!({"request_tokens": ["1"]}), "greater than 0"),
            (json!({"request_tokens": [1, 1]}), "strictly increasing: [1,1]"),
        ] {
            let error = read(&bad, None).expect_err("a refusal");
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn hidden_metrics_want_a_version() {
        for version in ["0.31", "v0.31.1", "0.31.0rc1", "1.0+cpu"] {
            assert_eq!(check_version(version), Ok(()), "{version}");
        }
        for version in ["", "x", "0.31 1", ".1"] {
            check_version(version).expect_err(version);
        }
    }
}
