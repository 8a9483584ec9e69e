//! Progress of long work, for whoever watches: on stderr, where that is a terminal and nobody asked for quiet.

use std::fmt::Write;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::Verbosity;
use super::text::one_line;

/// A bar that is drawn while it lives and leaves nothing behind.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar over a number of bytes: amount, rate and time left.
    pub fn bytes(verbosity: Verbosity, length: u64, label: &str) -> Self {
        let template = "{msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        Self::new(verbosity, Some(length), label, template)
    }

    /// Starts to tell bytes whose number is not known: amount and rate.
    pub fn stream(verbosity: Verbosity, label: &str) -> Self {
        Self::new(verbosity, None, label, "{msg} {bytes} {bytes_per_sec}")
    }

    /// Starts to count things whose number is not known: amount and rate.
    pub fn tally(verbosity: Verbosity, label: &str) -> Self {
        Self::new(verbosity, None, label, "{msg} {human_pos} {rate}")
    }

    /// Tells whether somebody may be watching: whether it is worth it to find out how much there is.
    pub fn is_watched(verbosity: Verbosity) -> bool {
        verbosity >= Verbosity::Normal && std::io::stderr().is_terminal()
    }

    fn new(verbosity: Verbosity, length: Option<u64>, label: &str, template: &str) -> Self {
        // of nothing there is nothing to see
        let target = if Self::is_watched(verbosity) && length != Some(0) {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        // a template that does not parse would be a defect of ours; the plain style shows the same numbers
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style =
            style.progress_chars("=> ").with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
                // a line that cannot be drawn is drawn again
                let _ = write!(to, "{:.0}/s", state.per_sec());
            });
        let bar = ProgressBar::with_draw_target(length, target).with_style(style);
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
