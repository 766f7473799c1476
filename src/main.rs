//! The program `glassbox`, also called `vllm`: command line → settings → what was asked for → exit
//! code.

use glassbox::config::{self, Env, Exit, Invocation};
use glassbox::{offline, serve};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let code = match config::parse(&args, Env::of_process()) {
        Ok(Invocation::Serve(settings)) => serve::run(*settings),
        Ok(other) => offline::run(other),
        Err(exit) => print(&exit),
    };
    serve::stop::leave(code)
}

/// Prints what there is to say. A closed pipe (`glassbox --help | head`) is no reason to fail.
fn print(exit: &Exit) -> u8 {
    let _ = std::io::stdout().write_all(exit.stdout.as_bytes());
    let _ = std::io::stderr().write_all(exit.stderr.as_bytes());
    exit.code
}
