//! `loads FILE...`: checks the kernels of files of PTX (see `ptx.rs`).

mod ptx;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut kernels, mut complaints) = (0, Vec::new());
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let (names, wrong) = ptx::check(&text);
        kernels += names.len();
        complaints.extend(wrong);
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("{kernels} kernels: {} loads or waits are wrong", complaints.len());
    if kernels > 0 && complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
