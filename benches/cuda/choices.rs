//! What is chosen between ways to the same bits, and what the others would take.

use crate::kernels::{singles_work, time, work};
use crate::model::Bench;
use crate::report::Report;
use crate::sizes::Sizes;
use glassbox::runner::cuda::{Choices, Phase};
use std::time::Duration;

const PRODUCTS: [Phase; 4] = [Phase::Qkv, Phase::O, Phase::GateUp, Phase::Down];
const STAGES: [usize; 2] = [2, 3];
/// Rows that a product may norm on its way.
const FEW_ROWS: [usize; 4] = [1, 2, 4, 8];
/// Rows of a prompt whose other keys are in the cache.
const FOLLOW_UPS: [usize; 3] = [8, 32, 128];

pub fn measure(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    products(bench, sizes, report)?;
    norms(bench, sizes, report)?;
    attention(bench, sizes, report)?;
    early(bench, sizes, report)?;
    bench.choose(Choices::default())
}

fn products(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    for &rows in &sizes.tried_rows {
        bench.put(1, 0, rows);
        bench.step()?;
        for phase in PRODUCTS {
            let work = work(bench, phase, rows).expect("a product");
            for tile in [None].into_iter().chain((0..Choices::TILES).map(Some)) {
                bench.choose(Choices { tile, ..Choices::default() })?;
                let took = time(bench, sizes, phase)?;
                let which = tile.map_or("as chosen".to_owned(), |tile| format!("tile {tile}"));
                report.line(&format!("{phase:?}, {rows} rows, {which}"), work, took, 0);
            }
        }
    }
    Ok(())
}

/// Products that norm their rows, beside a kernel that does it before them.
fn norms(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    let pairs = [(Phase::InputNorm, Phase::Qkv), (Phase::PostAttentionNorm, Phase::GateUp)];
    for rows in FEW_ROWS {
        bench.put(1, 0, rows);
        bench.step()?;
        for (norm, product) in pairs {
            let work = work(bench, product, rows).expect("a product");
            for fused in [true, false] {
                bench.choose(Choices { norms: Some(fused), ..Choices::default() })?;
                let before = if fused { Duration::ZERO } else { time(bench, sizes, norm)? };
                let took = before + time(bench, sizes, product)?;
                let how = if fused { "fused" } else { "apart" };
                report.line(&format!("norm and {product:?}, {rows} rows, {how}"), work, took, 0);
            }
        }
    }
    Ok(())
}

fn attention(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    for &(seqs, context) in &sizes.singles {
        bench.put(seqs, context - 1, 1);
        bench.step()?;
        for stages in STAGES {
            bench.choose(Choices { stages: Some(stages), ..Choices::default() })?;
            let took = time(bench, sizes, Phase::Attend)?;
            let name = format!("Attend, {seqs} x {context}, {stages} stages");
            report.line(&name, singles_work(bench, seqs, context), took, 0);
        }
    }
    let context = sizes.singles.iter().map(|&(_, context)| context).max().expect("some");
    for rows in FOLLOW_UPS.into_iter().filter(|&rows| rows < context) {
        bench.put(1, context - rows, rows);
        bench.step()?;
        for splits in [true, false] {
            bench.choose(Choices { splits, ..Choices::default() })?;
            let took = time(bench, sizes, Phase::Attend)?;
            let how = if splits { "may be split" } else { "never split" };
            let name = format!("Attend, {rows} rows of {context}, {how}");
            report.line(&name, singles_work(bench, 1, context), took, 0);
        }
    }
    Ok(())
}

fn early(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    for early in [true, false] {
        bench.put(1, sizes.context, 1);
        bench.choose(Choices { early, ..Choices::default() })?;
        for phase in PRODUCTS {
            let work = work(bench, phase, 1).expect("a product");
            let took = time(bench, sizes, phase)?;
            let when = if early { "early start" } else { "no early start" };
            report.line(&format!("{phase:?}, 1 row, {when}"), work, took, 0);
        }
    }
    Ok(())
}
