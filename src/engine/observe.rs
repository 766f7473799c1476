//! What is noted of each step when somebody asked for it: a line in the log
//! (`--enable-logging-iteration-details`), an estimate of its cost (`--enable-mfu-metrics`).

use super::estimate::{ModelCosts, StepLoad};
use super::status::Status;
use crate::scheduler::{Scheduler, Work};
use std::time::Duration;

/// Follows steps.
#[derive(Debug)]
pub struct StepObserver {
    costs: Option<ModelCosts>,
    /// `CPU` or `GPU`, when steps are logged.
    log_device: Option<&'static str>,
    /// Steps so far.
    number: u64,
    step: Observed,
}

/// The step under way.
#[derive(Debug, Default)]
struct Observed {
    /// Requests without a sampled token, and what they compute.
    context: (u64, u64),
    generation: (u64, u64),
}

impl StepObserver {
    /// `None` when nothing is asked for.
    pub fn new(costs: Option<ModelCosts>, log_device: Option<&'static str>) -> Option<Self> {
        let is_used = costs.is_some() || log_device.is_some();
        is_used.then(|| Self { costs, log_device, number: 0, step: Observed::default() })
    }

    /// A step was planned. Its cost counts from now on: who reads a reply finds it in the metrics.
    pub fn planned<'a>(
        &mut self,
        work: impl Iterator<Item = &'a Work>,
        scheduler: &Scheduler,
        status: &Status,
    ) {
        let (mut step, mut load) = (Observed::default(), StepLoad::default());
        for &Work { slot, start, len } in work {
            let sequence = scheduler.sequence(slot);
            let is_context = sequence.output().is_empty();
            let part = if is_context { &mut step.context } else { &mut step.generation };
            part.0 += 1;
            part.1 += len as u64;
            // vLLM takes a request's first step for prefill, and later ones by their length.
            let is_first = sequence.preemptions == 0 && start == sequence.cached;
            let is_prefill = (is_context && is_first) || len > 1;
            load.add(len as u64, (start + len) as u64, is_prefill);
        }
        self.step = step;
        if let Some(costs) = &self.costs {
            status.estimates.add(&costs.of(&load));
        }
    }

    /// It has ended, and its results are known.
    pub fn ended(&mut self, status: &Status, took: Duration) {
        if let Some(device) = self.log_device {
            let Observed { context, generation } = self.step;
            log::info!(
                "Engine 000: Iteration({}): {} context requests, {} context tokens, \
                 {} generation requests, {} generation tokens, iteration elapsed time: {:.2} ms, \
                 {device} KV cache usage: {:.1}%",
                self.number,
                context.0,
                context.1,
                generation.0,
                generation.1,
                took.as_secs_f64() * 1e3,
                status.kv_cache_usage() * 100.0,
            );
        }
        self.number += 1;
    }
}
