//! The tokens that answers begin with.

use super::super::frontend::Frontend;
use super::super::json::Dict;
use super::super::request::{Question, QuestionKind};
use super::conversation;
use crate::error::ApiError;
use crate::types::Token;
use std::sync::Arc;

/// What every prompt ends with, and the token that each label is after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyLabels {
    tail: Vec<Token>,
    /// By kind of question, in the order of its labels.
    ids: Vec<(QuestionKind, Vec<Token>)>,
}

impl ReplyLabels {
    /// The end of every prompt: what follows its last added token.
    pub fn tail(&self) -> &[Token] {
        &self.tail
    }

    /// The labels of a question's options.
    pub fn of(&self, question: &Question) -> &[Token] {
        let ids = self.ids.iter().find(|(kind, _)| *kind == question.kind);
        ids.map_or(&[], |(_, ids)| &ids[..question.options.len().min(ids.len())])
    }
}

impl Frontend {
    /// The labels, found out when they are first needed; `None` when some label is not one token
    /// of its own, so that this model cannot be asked.
    pub(super) async fn reply_labels(&self) -> Option<Arc<ReplyLabels>> {
        if let Some(known) = self.labels.get() {
            return known.clone();
        }
        let found = self.find_labels().await.ok().flatten().map(Arc::new);
        self.labels.get_or_init(|| found).clone()
    }

    async fn find_labels(&self) -> Result<Option<ReplyLabels>, ApiError> {
        let probe = conversation(None, "x".to_owned(), &Dict::new())?;
        let (text, _) = self.render(&probe, None)?;
        let prompt = self.encoder.encode(text, false, None).await?.tokens;
        let vocabulary = self.encoder.vocabulary();
        let start = prompt.iter().rposition(|&token| vocabulary.is_added(token));
        let tail = prompt[start.map_or(0, |at| at + 1)..].to_vec();
        let end = vocabulary.decode(&tail, false);
        let mut all = Vec::with_capacity(QuestionKind::ALL.len());
        for kind in QuestionKind::ALL {
            let mut ids: Vec<Token> = Vec::new();
            for label in kind.labels() {
                let extended = self.encoder.encode(end.clone() + &label, false, None).await?;
                match extended.tokens.split_last() {
                    Some((id, before)) if *before == *tail && !ids.contains(id) => ids.push(*id),
                    _ => return Ok(None),
                }
            }
            all.push((kind, ids));
        }
        Ok(Some(ReplyLabels { tail, ids: all }))
    }
}
