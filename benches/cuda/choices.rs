//! What is chosen between ways to the same bits, and what the others would take.

use crate::kernels::{singles_work, time, work};
use crate::model::Bench;
use crate::report::Report;
use crate::sizes::Sizes;
use glassbox::runner::cuda::{Choices, Phase};

const PRODUCTS: [Phase; 4] = [Phase::Qkv, Phase::O, Phase::GateUp, Phase::Down];
const STAGES: [usize; 2] = [2, 3];

pub fn measure(bench: &mut Bench, sizes: &Sizes, report: &mut Report) -> Result<(), String> {
    let usual = Choices::default();
    for &rows in &sizes.tried_rows {
        bench.put(1, 0, rows);
        bench.step()?;
        for phase in PRODUCTS {
            let work = work(bench, phase, rows).expect("a product");
            for tile in [None].into_iter().chain((0..Choices::TILES).map(Some)) {
                bench.backend.choose(Choices { tile, ..usual }).expect("a device that works");
                let took = time(bench, sizes, phase)?;
                let which = tile.map_or("as chosen".to_owned(), |tile| format!("tile {tile}"));
                report.line(&format!("{phase:?}, {rows} rows, {which}"), work, took, 0);
            }
        }
    }
    for &(seqs, context) in &sizes.singles {
        bench.put(seqs, context - 1, 1);
        bench.step()?;
        for stages in STAGES {
            bench
                .backend
                .choose(Choices { stages: Some(stages), ..usual })
                .expect("a device that works");
            let took = time(bench, sizes, Phase::Attend)?;
            let name = format!("Attend, {seqs} x {context}, {stages} stages");
            report.line(&name, singles_work(bench, seqs, context), took, 0);
        }
    }
    for early in [true, false] {
        bench.put(1, sizes.context, 1);
        bench.backend.choose(Choices { early, ..usual }).expect("a device that works");
        for phase in PRODUCTS {
            let work = work(bench, phase, 1).expect("a product");
            let took = time(bench, sizes, phase)?;
            let when = if early { "early start" } else { "no early start" };
            report.line(&format!("{phase:?}, 1 row, {when}"), work, took, 0);
        }
    }
    bench.backend.choose(usual).expect("a device that works");
    Ok(())
}
