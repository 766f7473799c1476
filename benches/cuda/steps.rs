//! Whole steps: decoding and prompts.

use crate::model::{Bench, DRAW, Sampled};
use crate::report::Report;
use crate::sizes::Sizes;
use glassbox::runner::Backend;
use glassbox::runner::cuda::Choices;
use std::time::{Duration, Instant};

/// Decodes `sizes.decoded` tokens of each of `seqs` sequences after `sizes.context`; with `ahead`,
/// a step is asked for before the one before it is collected, as the engine does. Gives the time
/// of a step, whole and on the device.
fn decode(
    bench: &mut Bench,
    sizes: &Sizes,
    seqs: usize,
    ahead: bool,
) -> Result<(Duration, Duration), String> {
    let steps = sizes.warm + sizes.decoded;
    let len = sizes.context + steps;
    let tables: Vec<_> = (0..seqs).map(|seq| bench.table(seqs, seq, len)).collect();
    let Bench { backend, batch, .. } = bench;
    let (mut since, mut device) = (Instant::now(), Duration::ZERO);
    let mut sampled = Sampled(vec![1; seqs]);
    let mut collected = 0;
    for step in 0..steps {
        batch.clear();
        let position = sizes.context + step;
        for (seq, table) in tables.iter().enumerate() {
            match ahead && step > 0 {
                true => batch.push_fed(seq as u32, position, table, DRAW),
                false => batch.push(&[sampled.0[seq]], position, table, 1, Some(DRAW)),
            }
        }
        backend.submit(batch).map_err(|error| error.to_string())?;
        let last = step + 1 == steps;
        while collected + usize::from(ahead && !last) <= step {
            sampled.0.clear();
            let timing = backend.collect(&mut sampled).map_err(|error| error.to_string())?;
            collected += 1;
            match collected <= sizes.warm {
                true => since = Instant::now(),
                false => device += timing.device,
            }
        }
    }
    let timed = sizes.decoded as u32;
    Ok((since.elapsed() / timed, device / timed))
}

/// The same, with and without what makes it fast.
fn ways() -> [(&'static str, Choices, bool); 4] {
    let usual = Choices::default();
    [
        ("", usual, true),
        (", not ahead", usual, false),
        (", no early start", Choices { early: false, ..usual }, true),
        (", no graphs", Choices { graphs: false, ..usual }, true),
    ]
}

pub fn measure(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    // What matters most comes first: a run may be cut short.
    for (way, choices, ahead) in ways() {
        bench.choose(choices)?;
        for &seqs in &sizes.batches {
            let (wall, device) = decode(bench, sizes, seqs, ahead)?;
            let context = sizes.context + sizes.warm + sizes.decoded / 2;
            let work = bench.decode_work(seqs, context);
            let name = format!("decode, batch {seqs}, context {}{way}", sizes.context);
            report.line(&name, work, wall, seqs);
            report.line(&format!("{name}, device"), work, device, seqs);
        }
        if way.is_empty() {
            prompts(bench, sizes, report)?;
        }
    }
    bench.choose(Choices::default())
}

fn prompts(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    for &len in &sizes.prompts {
        bench.put(1, 0, len);
        let work = bench.prompt_work(len);
        bench.step()?;
        let (mut best, mut device) = (Duration::MAX, Duration::MAX);
        for _ in 0..sizes.rounds {
            let (on_device, wall) = bench.step()?;
            (best, device) = (best.min(wall), device.min(on_device));
        }
        report.line(&format!("prompt of {len}"), work, best, len);
        report.line(&format!("prompt of {len}, device"), work, device, len);
    }
    Ok(())
}
