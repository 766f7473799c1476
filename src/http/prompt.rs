//! From the text or the tokens of a request to a prompt that fits the context.

use super::frontend::Frontend;
use super::json::Int;
use super::request::{GenerateFields, Prompt, Side};
use crate::error::ApiError;
use crate::text::EncodeError;
use crate::types::Token;
use std::sync::Arc;

/// A tokenised prompt within the context.
#[derive(Clone, Debug)]
pub struct TokenPrompt {
    pub tokens: Arc<[Token]>,
    /// The text that was given; `None` for a prompt of tokens.
    pub text: Option<String>,
    /// The largest id, when the vocabulary does not hold it. The engine must not see the prompt.
    pub outside: Option<Int>,
}

/// What a request says about the length of its prompt.
#[derive(Clone, Debug)]
pub struct LengthRules {
    max_len: usize,
    /// Tokens to keep at most.
    truncate: Option<usize>,
    side: Option<Side>,
    add_special_tokens: bool,
}

impl LengthRules {
    /// Checks what can be checked before tokenising. `max_tokens` comes from the field `field`.
    pub fn new(
        request: &GenerateFields,
        max_tokens: Option<&Int>,
        field: &str,
        max_model_len: u32,
    ) -> Result<Self, ApiError> {
        let max = i64::from(max_model_len);
        if let Some(wanted) = max_tokens.filter(|wanted| **wanted > max) {
            let message = format!(
                "{field}={wanted} cannot be greater than max_model_len={max}. Please request \
                 fewer output tokens."
            );
            return Err(ApiError::parameter(message, field, Some(&wanted.to_string())));
        }
        let truncate = request.truncate_prompt_tokens.as_ref();
        if let Some(wanted) = truncate.filter(|wanted| **wanted > max) {
            let name = "truncate_prompt_tokens";
            let message = format!(
                "{name}={wanted} cannot be greater than max_model_len = {max}. Please request a \
                 smaller truncation size."
            );
            return Err(ApiError::parameter(message, name, Some(&wanted.to_string())));
        }
        // -1 keeps as many as fit, with one left for the output when some is wanted.
        let some_output = max_tokens.is_some_and(|wanted| *wanted != 0);
        let most = max - i64::from(some_output);
        let keep = |wanted: &Int| if *wanted < 0 { most } else { wanted.saturate() };
        Ok(Self {
            max_len: max_model_len as usize,
            truncate: truncate.map(|wanted| keep(wanted).max(0) as usize),
            side: request.truncation_side,
            add_special_tokens: request.add_special_tokens,
        })
    }

    /// No more than the context, and nothing cut.
    pub fn plain(max_model_len: u32) -> Self {
        Self {
            max_len: max_model_len as usize,
            truncate: None,
            side: None,
            add_special_tokens: false,
        }
    }

    /// What truncation leaves of a prompt.
    fn cut<T>(&self, tokens: &mut Vec<T>) {
        let Some(keep) = self.truncate.filter(|keep| *keep < tokens.len()) else { return };
        match self.side {
            Some(Side::Right) => tokens.truncate(keep),
            // vLLM's tokenizers cut on the left unless told otherwise.
            Some(Side::Left) | None => drop(tokens.drain(..tokens.len() - keep)),
        }
    }

    fn check_len(&self, len: usize) -> Result<(), ApiError> {
        let max = self.max_len;
        if len <= max {
            return Ok(());
        }
        let qualifier = if len == max + 1 { "at least " } else { "" };
        let message = format!(
            "This model's maximum context length is {max} tokens. However, your prompt contains \
             {qualifier}{len} input tokens, which exceeds this limit even without any output \
             tokens. Please reduce the length of the input prompt."
        );
        Err(ApiError::parameter(message, "input_tokens", Some(&len.to_string())))
    }

    /// Refuses, or shortens, text that cannot fit whatever its tokens are.
    fn check_text(&self, mut text: String, max_chars_per_token: usize) -> Result<String, ApiError> {
        let max = self.max_len;
        let max_chars = max * max_chars_per_token;
        if text.len() <= max_chars {
            return Ok(text);
        }
        let len = text.chars().count();
        if len <= max_chars {
            return Ok(text);
        }
        if self.truncate.is_none() {
            let message = format!(
                "This model's maximum context length is {max} tokens. However, your prompt \
                 contains {len} characters (more than {max_chars} characters, which is the upper \
                 bound for {max} input tokens). Please reduce the length of the input prompt."
            );
            return Err(ApiError::parameter(message, "input_text", Some(&len.to_string())));
        }
        let boundary =
            |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
        match self.side {
            Some(Side::Left) => drop(text.drain(..boundary(len - max_chars))),
            Some(Side::Right) => text.truncate(boundary(max_chars)),
            None => {}
        }
        Ok(text)
    }
}

impl From<EncodeError> for ApiError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::NoTokenizer => Self::bad_request(error.to_string()),
            EncodeError::Tokenizer(_) | EncodeError::Panicked => Self::internal(error.to_string()),
        }
    }
}

impl Frontend {
    /// Tokenises text.
    pub async fn text_prompt(
        &self,
        text: String,
        rules: &LengthRules,
    ) -> Result<TokenPrompt, ApiError> {
        self.encoder.check()?;
        let text = rules.check_text(text, self.encoder.max_chars_per_token())?;
        // Cutting may need the last tokens, so all of them; otherwise one more than may be kept
        // is enough to know that there are too many.
        let limit = rules.truncate.is_none().then_some(rules.max_len);
        let encoded = self.encoder.encode(text.clone(), rules.add_special_tokens, limit).await?;
        let mut tokens = encoded.tokens;
        rules.cut(&mut tokens);
        rules.check_len(tokens.len())?;
        Ok(TokenPrompt { tokens: tokens.into(), text: Some(text), outside: None })
    }

    /// Takes a prompt of tokens as it is.
    pub fn token_prompt(
        &self,
        mut ids: Vec<Int>,
        rules: &LengthRules,
    ) -> Result<TokenPrompt, ApiError> {
        rules.cut(&mut ids);
        rules.check_len(ids.len())?;
        Ok(self.unchecked_prompt(&ids))
    }

    /// Token ids as a prompt, of whatever length.
    pub fn unchecked_prompt(&self, ids: &[Int]) -> TokenPrompt {
        let vocab = i64::from(self.options.limits.vocab_size);
        let mut outside: Option<Int> = None;
        for id in ids.iter().filter(|id| **id >= vocab || **id < 0) {
            if outside.as_ref().is_none_or(|largest| is_larger(id, largest)) {
                outside = Some(id.clone());
            }
        }
        let token = |id: &Int| Token::try_from(id.saturate()).unwrap_or(0);
        TokenPrompt { tokens: ids.iter().map(token).collect(), text: None, outside }
    }

    /// Tokens that a reply may have: as asked for, within the context and the server's cap. May
    /// be below 1, which a later check refuses.
    pub fn max_tokens(
        &self,
        wanted: Option<&Int>,
        prompt_len: usize,
        request: &GenerateFields,
    ) -> Result<i64, ApiError> {
        let max_len = i64::from(self.options.limits.max_model_len);
        let prompt_len = prompt_len as i64;
        let prompt_len = match request.truncate_prompt_tokens.as_ref().map(Int::saturate) {
            Some(keep) if keep >= 0 => prompt_len.min(keep),
            _ => prompt_len,
        };
        if prompt_len > max_len {
            return Err(ApiError::bad_request(format!(
                "Input length ({prompt_len}) exceeds model's maximum context length ({max_len})."
            )));
        }
        let wanted = wanted.map(Int::saturate);
        let wanted = wanted.or(self.defaults.max_new_tokens.map(i64::from));
        let room = max_len - prompt_len;
        let bounds = [wanted, self.defaults.max_new_tokens_cap.map(i64::from)];
        Ok(bounds.into_iter().flatten().fold(room, i64::min))
    }

    /// Tokenises one prompt of a completion request.
    pub async fn completion_prompt(
        &self,
        prompt: Prompt,
        rules: &LengthRules,
    ) -> Result<TokenPrompt, ApiError> {
        match prompt {
            Prompt::Text(text) => self.text_prompt(text, rules).await,
            Prompt::Tokens(ids) => self.token_prompt(ids, rules),
        }
    }
}

fn is_larger(a: &Int, b: &Int) -> bool {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a > b,
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (None, None) => {
            let (a, b) = (a.to_string(), b.to_string());
            (a.len(), a) > (b.len(), b)
        }
    }
}

impl TokenPrompt {
    /// The checks that vLLM leaves to the engine.
    pub fn check(&self, max_model_len: u32) -> Result<(), ApiError> {
        let len = self.tokens.len();
        if len == 0 {
            return Err(ApiError::bad_request("The decoder prompt cannot be empty"));
        }
        if len > max_model_len as usize {
            return Err(ApiError::bad_request(format!(
                "The decoder prompt (length {len}) is longer than the maximum model length of \
                 {max_model_len}. Make sure that `max_model_len` is no smaller than the number of \
                 text tokens."
            )));
        }
        if len == max_model_len as usize {
            return Err(ApiError::bad_request(format!(
                "The decoder prompt (length {len}) plus the number of requested output tokens \
                 (at least 1) is longer than the maximum model length of {max_model_len}. Make \
                 sure that `max_model_len` is no smaller than the number of text tokens (prompt \
                 + requested output tokens)."
            )));
        }
        match &self.outside {
            Some(id) => Err(ApiError::bad_request(format!("Token id {id} is out of vocabulary"))),
            None => Ok(()),
        }
    }
}
