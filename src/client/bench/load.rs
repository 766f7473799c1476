//! The load itself: each request a task, as many at a time as allowed.

use super::request::{Outcome, Target};
use super::schedule;
use crate::client::Progress;
use crate::client::prompts::Sample;
use crate::config::BenchServeSettings;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::{sleep, sleep_until};

/// What came of all requests, in the order in which they were sent.
pub(super) struct Load {
    pub outcomes: Vec<Outcome>,
    /// Seconds from the first request to the last reply.
    pub duration: f64,
    /// Short requests beside the load; `None` when there were none.
    pub probes: Option<Vec<Outcome>>,
}

/// Sends all samples and waits for their replies.
pub(super) async fn run_load(
    target: &Target,
    settings: &BenchServeSettings,
    samples: Vec<Sample>,
) -> Load {
    let progress = Arc::new(Progress::new("", samples.len(), settings.progress));
    let traffic = &settings.traffic;
    let places = traffic.max_concurrency.map(|most| Arc::new(Semaphore::new(most)));
    let probes = (traffic.probe_rate > 0.0).then(|| {
        let interval = Duration::from_secs_f64(1.0 / traffic.probe_rate);
        probe(target.clone(), interval)
    });
    let times = schedule::times(traffic, samples.len(), settings.seed);
    let since = Instant::now();
    let mut tasks = Vec::with_capacity(samples.len());
    for (index, (sample, time)) in samples.into_iter().zip(times).enumerate() {
        if time > 0.0 {
            sleep_until((since + Duration::from_secs_f64(time)).into()).await;
        }
        let (target, places, progress) = (target.clone(), places.clone(), progress.clone());
        let arrived = target.now();
        tasks.push(tokio::spawn(async move {
            let place = match places {
                Some(places) => places.acquire_owned().await.ok(),
                None => None,
            };
            let id = format!("{}{index}", target.id_prefix);
            let mut outcome = target.send(&sample, Some(&id)).await;
            outcome.queued = outcome.start - arrived;
            progress.step();
            drop(place);
            outcome
        }));
    }
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await.unwrap_or_else(|error| Outcome {
            error: Some(error.to_string()),
            ..Outcome::default()
        }));
    }
    let duration = since.elapsed().as_secs_f64();
    let probes = match probes {
        Some((stop, task)) => {
            drop(stop);
            Some(task.await.unwrap_or_default())
        }
        None => None,
    };
    progress.end();
    Load { outcomes, duration, probes }
}

type Probes = (tokio::sync::oneshot::Sender<()>, tokio::task::JoinHandle<Vec<Outcome>>);

/// Sends short requests, one after the other, until the sender is dropped.
fn probe(target: Target, interval: Duration) -> Probes {
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let sample =
        Sample { prompt: "Hi".to_owned(), tokens: Vec::new(), prompt_len: 1, output_len: 1 };
    let task = tokio::spawn(async move {
        let mut outcomes = Vec::new();
        loop {
            outcomes.push(target.send(&sample, None).await);
            tokio::select! {
                _ = &mut stopped => return outcomes,
                () = sleep(interval) => {}
            }
        }
    });
    (stop, task)
}
