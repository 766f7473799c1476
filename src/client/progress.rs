//! A bar that shows how far something is, where there is a terminal to show it on.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for `total` steps of `what`; one that is not `shown` draws nothing.
    pub fn new(what: &'static str, total: usize, shown: bool) -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(total as u64),
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let template = "{msg}{percent:>3}%|{wide_bar}| {pos}/{len} [{elapsed}<{eta}, {per_sec}]";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(if what.is_empty() { String::new() } else { format!("{what}: ") });
        Self(bar)
    }

    /// One step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// The bar stays where it is.
    pub fn end(&self) {
        self.0.abandon();
    }
}
