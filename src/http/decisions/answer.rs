//! From the log-probabilities of labels to answers.

use super::super::label_reads::LabelRead;
use super::super::request::{Question, QuestionKind};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

/// The reply to all questions.
pub struct Reply<'a> {
    pub id: &'a str,
    pub created: u64,
    pub model: &'a str,
    pub input_tokens: usize,
    /// Each with what was read, and whether the model wanted one of its labels.
    pub reads: Vec<(&'a Question, &'a LabelRead, bool)>,
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut answers, mut diagnostics) = (Map::new(), Map::new());
        for (question, read, is_label) in &self.reads {
            let mass: f64 = read.logprobs.iter().map(|logprob| logprob.exp()).sum();
            answers.insert(question.id.clone(), answer(question, &softmax(&read.logprobs), mass));
            let shown = json!({"label_mass": mass, "argmax_is_label": is_label});
            diagnostics.insert(question.id.clone(), shown);
        }
        let usage = json!({"input_tokens": self.input_tokens, "output_tokens": self.reads.len()});
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("id", self.id)?;
        map.serialize_entry("object", "structured_decision")?;
        map.serialize_entry("created", &self.created)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("answers", &answers)?;
        map.serialize_entry("usage", &usage)?;
        map.serialize_entry("diagnostics", &diagnostics)?;
        map.end()
    }
}

/// The probabilities among the labels.
fn softmax(logprobs: &[f64]) -> Vec<f64> {
    let best = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logprobs.iter().map(|logprob| (logprob - best).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The answer in the form of its kind. `mass` is what the labels have of all probability, so that
/// a model that wanted something else is not sure of anything.
fn answer(question: &Question, probs: &[f64], mass: f64) -> Value {
    let best = (1..probs.len()).fold(0, |best, at| if probs[at] > probs[best] { at } else { best });
    let kind = question.kind.name();
    let confidence = probs[best] * mass;
    let names = question.options.iter().map(|option| option.name.clone());
    let numbers = (0..probs.len()).map(|at| at.to_string());
    let with = |names: &mut dyn Iterator<Item = String>| -> Map<String, Value> {
        names.zip(probs).map(|(name, prob)| (name, (*prob).into())).collect()
    };
    match question.kind {
        QuestionKind::Choice => json!({
            "type": kind, "choice": question.options[best].name,
            "probabilities": with(&mut names.into_iter()), "confidence": confidence
        }),
        QuestionKind::Noul => json!({
            "type": kind, "noul": probs[0], "probabilities": with(&mut names.into_iter()),
            "confidence": confidence
        }),
        QuestionKind::Score => {
            let score: f64 = probs.iter().enumerate().map(|(at, prob)| at as f64 * prob).sum();
            let legend: Map<String, Value> =
                numbers.clone().zip(names).map(|(at, name)| (at, name.into())).collect();
            json!({
                "type": kind, "score": score, "legend": legend,
                "probabilities": with(&mut numbers.into_iter()), "confidence": confidence
            })
        }
    }
}
