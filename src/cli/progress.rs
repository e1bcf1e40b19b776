//! A counter on standard error for work that takes long.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Ask;

/// Work that is done within this time needs no counter.
const PATIENCE: Duration = Duration::from_secs(1);

/// The counter.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    wanted: bool,
    what: &'static str,
    /// How many there are, if that is known.
    total: Option<u64>,
    done: std::cell::Cell<u64>,
    bar: RefCell<Option<ProgressBar>>,
}

impl Progress {
    /// A counter of `what`, of which there are `total`. `scrolls` says that results are printed meanwhile: on the same
    /// terminal they are progress enough.
    pub fn new(ask: Ask, what: &'static str, total: Option<u64>, scrolls: bool) -> Progress {
        let wanted = match ask {
            Ask::Always => true,
            Ask::Never => false,
            Ask::Auto => std::io::stderr().is_terminal() && !(scrolls && std::io::stdout().is_terminal()),
        };
        let done = std::cell::Cell::new(0);
        Progress { begun: Instant::now(), wanted, what, total, done, bar: RefCell::new(None) }
    }

    /// One more.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        if !self.wanted {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        match &*bar {
            Some(bar) => bar.inc(1),
            None if self.begun.elapsed() >= PATIENCE => *bar = Some(self.draw()),
            None => {}
        }
    }

    fn draw(&self) -> ProgressBar {
        let template = match self.total {
            Some(_) => "{spinner} {human_pos} of {human_len} {msg}, {per_sec}, {elapsed}, about {eta} to go",
            None => "{spinner} {human_pos} {msg}, {per_sec}, {elapsed}",
        };
        let bar = match self.total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        // indicatif draws nothing where standard error is no terminal; there a line now and then is drawn by `line`.
        let bar = bar.with_message(self.what).with_elapsed(self.begun.elapsed());
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(self.done.get());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Lets `print` write without the counter in its way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the counter away.
    pub fn finish(self) {
        if let Some(bar) = self.bar.into_inner() {
            bar.finish_and_clear();
        }
    }
}
