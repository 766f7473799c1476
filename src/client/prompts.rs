//! The prompts of a benchmark.

use crate::config::{DataSet, FileData, Lengths, PrefixData, RandomData};
use crate::model::{ChatTemplate, RenderInput, Tokenizer};
use crate::types::Token;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// One request of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub prompt: String,
    pub tokens: Vec<Token>,
    /// The tokens of the prompt, as far as they are known without a server.
    pub prompt_len: usize,
    pub output_len: usize,
}

/// Makes `count` samples, the same ones for the same seed.
///
/// # Errors
/// One sentence about a file, or about what a data set needs.
pub fn samples(
    data: &DataSet,
    count: usize,
    seed: u64,
    tokenizer: Option<&Tokenizer>,
    template: Option<&ChatTemplate>,
) -> Result<Vec<Sample>, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let needed =
        || tokenizer.ok_or("Tokenizer is required for this data set; do not skip it".to_owned());
    match data {
        DataSet::Random(data) => random(data, count, &mut rng, needed()?),
        DataSet::PrefixRepetition(data) => prefix_repetition(data, count, &mut rng, needed()?),
        DataSet::ShareGpt(file) => {
            let found = share_gpt(file, count, &mut rng, needed()?)?;
            oversample(found, count, file, &mut rng)
        }
        DataSet::Custom { file, template_kwargs } => {
            let render = match (template_kwargs, tokenizer) {
                (Some(kwargs), Some(_)) => {
                    Some((template.ok_or("the tokenizer has no chat template")?, kwargs))
                }
                _ => None,
            };
            let found = custom(file, count, &mut rng, tokenizer, render)?;
            oversample(found, count, file, &mut rng)
        }
    }
}

/// Ids that stand for text.
fn plain_tokens(tokenizer: &Tokenizer) -> Vec<Token> {
    let hf = tokenizer.hf();
    let special: HashSet<Token> = hf
        .get_added_tokens_decoder()
        .into_iter()
        .filter(|(_, token)| token.special)
        .map(|(id, _)| id)
        .collect();
    let mut ids: Vec<Token> = hf.get_vocab(false).into_values().collect();
    ids.retain(|id| !special.contains(id));
    ids.sort_unstable();
    ids
}

fn length(lengths: Lengths, rng: &mut StdRng) -> usize {
    let mean = lengths.mean as f64;
    let low = (mean * (1.0 - lengths.spread)).floor().max(1.0) as usize;
    let high = (mean * (1.0 + lengths.spread)).ceil().max(1.0) as usize;
    rng.random_range(low..=high)
}

fn random(
    data: &RandomData,
    count: usize,
    rng: &mut StdRng,
    tokenizer: &Tokenizer,
) -> Result<Vec<Sample>, String> {
    let ids = plain_tokens(tokenizer);
    let draw = |rng: &mut StdRng| *ids.choose(rng).expect("a vocabulary is not empty");
    let prefix: Vec<Token> = (0..data.prefix).map(|_| draw(rng)).collect();
    let one = |index: usize| {
        let len = length(data.input, rng);
        let output_len = length(data.output, rng);
        let offset = rng.random_range(0..ids.len());
        let own = (0..len).map(|at| ids[(offset + index + at) % ids.len()]);
        let tokens: Vec<Token> = prefix.iter().copied().chain(own).collect();
        of_length(tokenizer, tokens, &ids, rng).map(|sample| Sample { output_len, ..sample })
    };
    (0..count).map(one).collect()
}

fn prefix_repetition(
    data: &PrefixData,
    count: usize,
    rng: &mut StdRng,
    tokenizer: &Tokenizer,
) -> Result<Vec<Sample>, String> {
    let ids = plain_tokens(tokenizer);
    let mut made = Vec::new();
    for _ in 0..data.prefixes {
        let draw = |count: usize, rng: &mut StdRng| -> Vec<Token> {
            (0..count).filter_map(|_| ids.choose(rng).copied()).collect()
        };
        let prefix = draw(data.prefix, rng);
        for _ in 0..count / data.prefixes {
            let tokens = [prefix.clone(), draw(data.suffix, rng)].concat();
            let sample = of_length(tokenizer, tokens, &ids, rng)?;
            made.push(Sample { output_len: data.output, ..sample });
        }
    }
    made.shuffle(rng);
    Ok(made)
}

/// A text that has as many tokens as `tokens` when it is read again: text of random tokens may
/// have more or fewer, so it is cut or lengthened a few times.
fn of_length(
    tokenizer: &Tokenizer,
    mut tokens: Vec<Token>,
    ids: &[Token],
    rng: &mut StdRng,
) -> Result<Sample, String> {
    const TRIES: usize = 10;
    let wanted = tokens.len();
    let hf = tokenizer.hf();
    let mut prompt = String::new();
    for _ in 0..TRIES {
        prompt = hf.decode(&tokens, false).map_err(|error| error.to_string())?;
        let read = hf.encode_fast(prompt.as_str(), false).map_err(|error| error.to_string())?;
        tokens = read.get_ids().to_vec();
        if tokens.len() == wanted {
            break;
        }
        tokens.truncate(wanted);
        while tokens.len() < wanted {
            tokens.extend(ids.choose(rng));
        }
    }
    Ok(Sample { prompt, prompt_len: wanted, tokens, output_len: 0 })
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<Token>, String> {
    let read = tokenizer.hf().encode_fast(text, true).map_err(|error| error.to_string())?;
    Ok(read.get_ids().to_vec())
}

fn read_file(file: &FileData) -> Result<String, String> {
    std::fs::read_to_string(&file.path).map_err(|error| format!("{}: {error}", file.path.display()))
}

/// Conversations whose first two turns are neither very short nor very long, as vLLM picks them.
fn share_gpt(
    file: &FileData,
    count: usize,
    rng: &mut StdRng,
    tokenizer: &Tokenizer,
) -> Result<Vec<Sample>, String> {
    const LEAST: usize = 4;
    const LONGEST_PROMPT: usize = 1024;
    const LONGEST: usize = 2048;
    let place = file.path.display();
    let mut entries: Vec<Value> =
        serde_json::from_str(&read_file(file)?).map_err(|error| format!("{place}: {error}"))?;
    if file.shuffle {
        entries.shuffle(rng);
    }
    let mut found = Vec::new();
    for entry in &entries {
        if found.len() == count {
            break;
        }
        let turn = |at: usize| entry["conversations"][at]["value"].as_str();
        let (Some(prompt), Some(answer)) = (turn(0), turn(1)) else { continue };
        let tokens = encode(tokenizer, prompt)?;
        let answer = encode(tokenizer, answer)?.len();
        let output_len = file.output.unwrap_or(answer);
        let too_short = tokens.len() < LEAST || (file.output.is_none() && answer < LEAST);
        let too_long = tokens.len() > LONGEST_PROMPT || tokens.len() + output_len > LONGEST;
        if !too_short && !too_long {
            let prompt_len = tokens.len();
            found.push(Sample { prompt: prompt.to_owned(), tokens, prompt_len, output_len });
        }
    }
    Ok(found)
}

type Render<'a> = (&'a ChatTemplate, &'a Map<String, Value>);

fn custom(
    file: &FileData,
    count: usize,
    rng: &mut StdRng,
    tokenizer: Option<&Tokenizer>,
    render: Option<Render<'_>>,
) -> Result<Vec<Sample>, String> {
    let place = file.path.display();
    if file.path.extension().is_none_or(|extension| extension != "jsonl") {
        return Err("Only JSONL format is supported for CustomDataset.".to_owned());
    }
    let text = read_file(file)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut rows: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{place}: {error}")))
        .collect::<Result<_, _>>()?;
    if file.shuffle {
        rows.shuffle(rng);
    }
    let one = |row: &Value| {
        let prompt = row["prompt"].as_str();
        let prompt = prompt.ok_or("JSONL file must contain a 'prompt' column.")?;
        let Some(tokenizer) = tokenizer else {
            let prompt = prompt.to_owned();
            return Ok(Sample { prompt, tokens: Vec::new(), prompt_len: 1, output_len: 1 });
        };
        let asked = row["output_tokens"].as_u64().map(|count| count as usize);
        let output_len = file.output.or(asked).ok_or(
            "If no output length is provided the custom dataset must contain an 'output_tokens' \
             field.",
        )?;
        let prompt = match render {
            Some((template, kwargs)) => rendered(template, kwargs, tokenizer, prompt)?,
            None => prompt.to_owned(),
        };
        let tokens = encode(tokenizer, &prompt)?;
        Ok(Sample { prompt, prompt_len: tokens.len(), tokens, output_len })
    };
    rows.iter().take(count).map(one).collect()
}

fn rendered(
    template: &ChatTemplate,
    kwargs: &Map<String, Value>,
    tokenizer: &Tokenizer,
    prompt: &str,
) -> Result<String, String> {
    let messages = json!([{"role": "user", "content": prompt}]);
    let input = RenderInput {
        messages: &messages,
        tools: None,
        add_generation_prompt: true,
        continue_final_message: false,
        kwargs,
    };
    template.render(&input, &tokenizer.special).map_err(|error| error.to_string())
}

fn oversample(
    mut found: Vec<Sample>,
    count: usize,
    file: &FileData,
    rng: &mut StdRng,
) -> Result<Vec<Sample>, String> {
    if found.is_empty() {
        return Err(format!("{}: there is no prompt that can be used", file.path.display()));
    }
    let own = found.len();
    while file.oversample && found.len() < count {
        found.push(found[rng.random_range(0..own)].clone());
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
