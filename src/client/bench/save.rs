//! The file with the results of a benchmark, with vLLM's keys and under vLLM's name.

use crate::config::{BenchServeSettings, repr_float};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::SystemTime;

/// Writes what was measured, and what it was measured with, where a file is asked for.
pub(super) fn save(
    settings: &BenchServeSettings,
    model_id: &str,
    tokenizer_id: Option<&str>,
    result: Map<String, Value>,
) -> Result<(), String> {
    if !settings.save.save && !settings.save.append {
        return Ok(());
    }
    let mut whole = setup(settings, model_id, tokenizer_id);
    whole.extend(result);
    if !settings.save.detailed {
        for name in [
            "input_lens",
            "output_lens",
            "start_times",
            "ttfts",
            "itls",
            "generated_texts",
            "errors",
        ] {
            whole.shift_remove(name);
        }
    }
    write_file(settings, model_id, &whole)
}

/// The members of a JSON object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn setup(
    settings: &BenchServeSettings,
    model_id: &str,
    tokenizer_id: Option<&str>,
) -> Map<String, Value> {
    let traffic = &settings.traffic;
    let mut setup = object(json!({
        "date": timestamp(),
        "endpoint_type": settings.backend,
        "backend": settings.backend,
        "label": settings.save.label,
        "model_id": model_id,
        "tokenizer_id": tokenizer_id,
        "num_prompts": settings.num_prompts,
    }));
    for (key, value) in &settings.save.metadata {
        setup.insert(key.clone(), value.as_str().into());
    }
    let rate = if traffic.rate.is_finite() { json!(traffic.rate) } else { json!("inf") };
    setup.extend(object(json!({
        "request_rate": rate,
        "burstiness": traffic.burstiness,
        "max_concurrency": traffic.max_concurrency,
    })));
    if let Some(ramp) = traffic.ramp_up {
        setup.extend(object(json!({
            "ramp_up_strategy": if ramp.exponential { "exponential" } else { "linear" },
            "ramp_up_start_rps": ramp.start,
            "ramp_up_end_rps": ramp.end,
        })));
    }
    setup
}

/// `20261128-143000`, in UTC.
fn timestamp() -> String {
    let date = httpdate::fmt_http_date(SystemTime::now());
    // Sat, 28 Nov 2026 14:30:00 GMT
    let words: Vec<&str> = date.split(' ').collect();
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(words[2]).unwrap_or(0) / 3 + 1;
    format!("{}{month:02}{}-{}", words[3], words[1], words[4].replace(':', ""))
}

fn write_file(
    settings: &BenchServeSettings,
    model_id: &str,
    result: &Map<String, Value>,
) -> Result<(), String> {
    let save = &settings.save;
    let name = save.file.clone().unwrap_or_else(|| default_name(settings, model_id));
    let path =
        save.folder.as_ref().map_or_else(|| name.clone().into(), |folder| folder.join(&name));
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = &save.folder {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut text = Value::Object(result.clone()).to_string();
    let mut options = std::fs::OpenOptions::new();
    options.create(true);
    match save.append {
        true => options.append(true),
        false => options.write(true).truncate(true),
    };
    let mut file = options.open(&path).map_err(fail)?;
    if save.append && file.metadata().map_err(fail)?.len() > 0 {
        text.insert(0, '\n');
    }
    file.write_all(text.as_bytes()).map_err(fail)
}

fn default_name(settings: &BenchServeSettings, model_id: &str) -> String {
    let traffic = &settings.traffic;
    let label = settings.save.label.as_deref().filter(|label| !label.is_empty());
    let label = label.unwrap_or(&settings.backend);
    let most = traffic.max_concurrency.map(|most| format!("-concurrency{most}"));
    let most = most.unwrap_or_default();
    let model = model_id.rsplit('/').next().unwrap_or(model_id);
    let rate = match traffic.ramp_up {
        Some(ramp) => {
            let strategy = if ramp.exponential { "exponential" } else { "linear" };
            format!("ramp-up-{strategy}-{}qps-{}qps", ramp.start, ramp.end)
        }
        None => format!("{}qps", repr_float(traffic.rate)),
    };
    format!("{label}-{rate}{most}-{model}-{}.json", timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_fourteen_digits() {
        let text = timestamp();
        assert_eq!((text.len(), text.as_bytes()[8]), (15, b'-'));
        assert!(text.starts_with("20") && text.bytes().filter(u8::is_ascii_digit).count() == 14);
    }
}
