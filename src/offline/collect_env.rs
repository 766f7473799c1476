//! `collect-env`: what a bug report should say about the machine and the program.

use crate::config::VLLM_VERSION;
use crate::runner::cpu::Isa;
use std::fmt::Write;

/// Variables that are shown, by their beginnings.
const SHOWN: [&str; 9] = [
    "VLLM_",
    "GLASSBOX_",
    "HF_",
    "OTEL_",
    "PYTHONHASHSEED",
    "CUDA_VISIBLE_DEVICES",
    "TRANSFORMERS_OFFLINE",
    "NO_COLOR",
    "OMP_NUM_THREADS",
];
/// Of these only that they are set.
const SECRET: [&str; 4] = ["KEY", "TOKEN", "SECRET", "HEADERS"];

/// The report.
pub(super) fn report() -> String {
    let mut out = String::new();
    section("System Info", &mut out);
    line("OS", &os_name(), &mut out);
    line("Kernel", &first_line("/proc/sys/kernel/osrelease"), &mut out);
    line("Architecture", std::env::consts::ARCH, &mut out);
    section("Glassbox Info", &mut out);
    line("Glassbox Version", env!("CARGO_PKG_VERSION"), &mut out);
    line("Answers as vLLM", VLLM_VERSION, &mut out);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    line("Build", build, &mut out);
    section("CPU Info", &mut out);
    line("Model", &cpu_field("model name"), &mut out);
    let threads = std::thread::available_parallelism().map_or(0, |threads| threads.get());
    line("Threads this process may use", &threads.to_string(), &mut out);
    line("Kernels", &Isa::best().to_string(), &mut out);
    section("Memory Info", &mut out);
    for name in ["MemTotal", "MemAvailable"] {
        line(name, &memory_field(name), &mut out);
    }
    section("Environment Variables", &mut out);
    let mut vars: Vec<(String, String)> =
        std::env::vars().filter(|(name, _)| shown(name)).collect();
    vars.sort();
    for (name, value) in vars {
        let secret = SECRET.iter().any(|word| name.contains(word));
        let value = if secret { "***".to_owned() } else { value };
        let _ = writeln!(out, "{name}={value}");
    }
    out
}

fn shown(name: &str) -> bool {
    SHOWN.iter().any(|beginning| name.starts_with(beginning))
}

fn section(title: &str, out: &mut String) {
    let rule = "=".repeat(30);
    let _ = writeln!(out, "{rule}\n{title:^30}\n{rule}");
}

fn line(name: &str, value: &str, out: &mut String) {
    let value = if value.is_empty() { "unknown" } else { value };
    let _ = writeln!(out, "{name:<29}: {value}");
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn first_line(path: &str) -> String {
    read(path).lines().next().unwrap_or_default().to_owned()
}

fn os_name() -> String {
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The first value of a field of `/proc/cpuinfo`.
fn cpu_field(name: &str) -> String {
    field(&read("/proc/cpuinfo"), name)
}

fn memory_field(name: &str) -> String {
    field(&read("/proc/meminfo"), name)
}

fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: Fast CPU\nmodel name\t: Other\n";
        assert_eq!(field(text, "model name"), "Fast CPU");
        assert_eq!(field(text, "cache"), "");
        assert!(shown("VLLM_X") && !shown("PATH"));
        let mut out = String::new();
        line("Kernel", "", &mut out);
        assert_eq!(out, "Kernel                       : unknown\n");
    }
}
