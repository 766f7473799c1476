//! What is printed, and written as JSON.

use glassbox::runner::cuda::Gpu;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// What must be done at the least.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Bytes from and to the GPU's memory.
    pub bytes: f64,
    /// Operations of products.
    pub flops: f64,
}

/// Operations a byte beyond which products bound the time on every GPU that there is.
const DENSE: f64 = 400.0;

pub struct Report {
    /// Bytes a second, the best so far.
    bandwidth: f64,
    /// Operations a second of products; NaN where nobody measured them.
    flops: f64,
    group: String,
    json: Option<File>,
    /// Copies of a measurement of the memory.
    copies: usize,
}

impl Report {
    /// Measures the memory and opens `json`, which lines are added to.
    pub fn new(gpu: &Gpu, json: Option<&Path>, copies: usize) -> Result<Self, String> {
        let flops = std::env::var("GLASSBOX_BENCH_FLOPS").ok().and_then(|text| text.parse().ok());
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|error| format!("{}: {error}", path.display()))
        };
        let json = json.map(open).transpose()?;
        let flops = flops.unwrap_or(f64::NAN);
        let mut report = Self { bandwidth: 0.0, flops, group: "limits".to_owned(), json, copies };
        report.measure(gpu)?;
        println!("bf16 products {:8.1} TFLOP/s (GLASSBOX_BENCH_FLOPS)", flops / 1e12);
        Ok(report)
    }

    /// Measures the memory once more.
    pub fn measure(&mut self, gpu: &Gpu) -> Result<(), String> {
        let found = gpu.copy_rate(self.copies).map_err(|error| error.to_string())?;
        self.bandwidth = self.bandwidth.max(found);
        println!("\ncopies        {:8.1} GB/s, read and written", found / 1e9);
        self.write(json!({"name": "copies", "bytes_per_second": found}));
        Ok(())
    }

    /// What follows belongs to `name`.
    pub fn group(&mut self, name: &str) {
        self.group = name.to_owned();
        println!("\n{name}");
    }

    pub fn loaded(&mut self, model: &Path, took: Duration, bytes: f64) {
        let (seconds, rate) = (took.as_secs_f64(), bytes / took.as_secs_f64() / 1e9);
        println!("{}: made up and loaded in {seconds:.2} s ({rate:.2} GB/s)", model.display());
        self.write(json!({"name": "load", "seconds": seconds, "bytes": bytes}));
    }

    /// The share of the limit that `work` in `seconds` reached.
    fn share(&self, work: Work, seconds: f64) -> Option<f64> {
        if self.flops.is_nan() && work.flops > DENSE * work.bytes {
            return None;
        }
        // `max` passes over a NaN.
        let bound = (work.bytes / self.bandwidth).max(work.flops / self.flops);
        Some(100.0 * bound / seconds)
    }

    /// A line: `work` took so long, for so many tokens (0: none are made).
    pub fn line(&mut self, name: &str, work: Work, took: Duration, tokens: usize) {
        let seconds = took.as_secs_f64();
        let share = self.share(work, seconds);
        let percent = share.map_or("-".to_owned(), |share| format!("{share:.1}"));
        print!(
            "{name:44} {:11.2} us {:8.1} GB/s {:8.2} TFLOP/s {percent:>6} %",
            seconds * 1e6,
            work.bytes / seconds / 1e9,
            work.flops / seconds / 1e12
        );
        let rate = tokens as f64 / seconds;
        println!("{}", if tokens > 0 { format!(" {rate:10.1} tokens/s") } else { String::new() });
        self.write(json!({
            "name": name,
            "seconds": seconds,
            "bytes": work.bytes,
            "flops": work.flops,
            "percent": share,
            "tokens_per_second": (tokens > 0).then_some(rate),
        }));
    }

    /// Adds a line to the file at once: whoever ends this program keeps what it found.
    fn write(&mut self, mut line: Value) {
        line["group"] = self.group.clone().into();
        if let Some(file) = &mut self.json {
            let written = writeln!(file, "{line}").and_then(|()| file.flush());
            written.unwrap_or_else(|error| eprintln!("the JSON file: {error}"));
        }
    }
}
