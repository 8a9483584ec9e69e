//! Progress of long work, for whoever watches: on stderr, where that is a terminal and nobody asked for quiet.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Verbosity;
use super::text::one_line;

/// A bar that is drawn while it lives and leaves nothing behind.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar over a number of bytes: amount, rate and time left.
    pub fn bytes(verbosity: Verbosity, length: u64, label: &str) -> Self {
        let template = "{msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        Self::new(verbosity, length, label, template)
    }

    /// Starts a bar over a number of things.
    pub fn count(verbosity: Verbosity, length: u64, label: &str) -> Self {
        Self::new(verbosity, length, label, "{msg} [{bar:24}] {pos}/{len}, {eta} left")
    }

    fn new(verbosity: Verbosity, length: u64, label: &str, template: &str) -> Self {
        let target = if verbosity >= Verbosity::Normal && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        // a template that does not parse would be a defect of ours; the plain style shows the same numbers
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(length), target).with_style(style.progress_chars("=> "));
        bar.set_message(one_line(label));
        Self(bar)
    }

    /// Moves on.
    pub fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    /// Says what is being worked on.
    pub fn label(&self, label: &str) {
        self.0.set_message(one_line(label));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
