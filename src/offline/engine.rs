//! An engine without a server around it.

use crate::config::Settings;
use crate::engine::{EngineHandle, NewRequest, Transfer};
use crate::model::Model;
use crate::serve::build::{self, Engine, Sizes};
use crate::serve::stop::{Running, STOP_GRACE};
use crate::types::{
    Clock, FinishReason, Generated, SamplingParams, SharedTimeline, TimelineRoom, Token,
};
use std::sync::Arc;

/// A running engine; stops when it is closed, or dropped.
pub(super) struct Offline {
    pub model: Model,
    pub sizes: Sizes,
    pub handle: EngineHandle,
    running: Running,
}

/// What one generation is asked for: a prompt and how many tokens.
pub(super) type Job = (Arc<[Token]>, usize);

impl Offline {
    /// Opens the model and starts the engine.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let model = build::open_model(settings)?;
        let sizes = build::size(settings, &model)?;
        let Engine { handle, running, .. } =
            build::start_engine(settings, &model, &sizes, Clock::system())?;
        Ok(Self { model, sizes, handle, running })
    }

    /// Runs all jobs, `n` times each, as one crowd; gives the number of tokens that came.
    pub async fn generate(&self, jobs: &[Job], n: usize) -> Result<usize, String> {
        let room = self.handle.reserve(jobs.len() * n);
        let mut room = room.map_err(|error| error.to_string())?;
        let mut generations = Vec::with_capacity(jobs.len() * n);
        for (prompt, tokens) in jobs {
            let params = self.params(prompt, *tokens)?;
            for number in 0..n {
                let request = self.request(prompt.clone(), params.clone(), number as u32);
                generations.push(room.start(request).map_err(|error| error.to_string())?);
            }
        }
        let mut count = 0;
        for mut generation in generations {
            while let Some(event) = generation.next().await {
                match event {
                    Generated::Token { .. } => count += 1,
                    Generated::End(finish) if finish.reason == FinishReason::Error => {
                        return Err("the engine failed".to_owned());
                    }
                    Generated::End(_) | Generated::Prompt { .. } | Generated::Leased(_) => {}
                }
            }
        }
        Ok(count)
    }

    fn params(&self, prompt: &[Token], tokens: usize) -> Result<Arc<SamplingParams>, String> {
        let most = self.sizes.kv.max_model_len;
        if prompt.is_empty() || prompt.len() + tokens > most {
            return Err(format!(
                "a prompt of {} tokens and {tokens} more do not fit in max_model_len ({most})",
                prompt.len()
            ));
        }
        Ok(Arc::new(SamplingParams {
            temperature: 1.0,
            ..SamplingParams::greedy(u32::try_from(tokens).map_err(|error| error.to_string())?)
        }))
    }

    fn request(
        &self,
        prompt: Arc<[Token]>,
        params: Arc<SamplingParams>,
        number: u32,
    ) -> NewRequest {
        NewRequest {
            prompt,
            params,
            number,
            priority: 0,
            cache_salt: None,
            session: None,
            reports_prefix: false,
            transfer: Transfer::None,
            constraint: None,
            timeline: SharedTimeline::new(self.handle.clock().now(), TimelineRoom::default()),
        }
    }

    /// Lets the engine end.
    pub fn close(mut self) -> Result<(), String> {
        self.running.stop(STOP_GRACE)
    }
}
