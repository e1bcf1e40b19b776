//! A counter on standard error for work that takes long; only on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The counter.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A counter of `what`; silent when standard error is not a terminal, or when results scroll by on the same one.
    pub fn new(what: &'static str, results_scroll: bool) -> Progress {
        if !std::io::stderr().is_terminal() || (results_scroll && std::io::stdout().is_terminal()) {
            return Progress(None);
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} {msg}, {per_sec}, {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(Some(bar))
    }

    /// One more.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Lets `print` write without the counter in its way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the counter away.
    pub fn finish(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
