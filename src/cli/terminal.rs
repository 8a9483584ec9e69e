//! The person at the terminal: asked for passwords, never through stdin or stdout.

use std::io::{self, IsTerminal, Write};

use crate::crypto::Password;

/// Whether a command may ask a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// Somebody sits at a terminal.
    Allowed,
    /// `--no-input`, or nobody is there.
    Forbidden,
}

impl Interaction {
    /// Finds out whether this process has a terminal: its stdin or stderr is one, and it can be opened.
    ///
    /// A job without both is not asked, though it may have inherited somebody's terminal.
    pub fn detect() -> Self {
        let attended = io::stdin().is_terminal() || io::stderr().is_terminal();
        if attended && open_terminal().is_ok() { Self::Allowed } else { Self::Forbidden }
    }
}

/// Who is asked for passwords.
pub trait Terminal {
    /// Shows the prompt and reads a line without echoing it.
    ///
    /// # Errors
    /// Where nothing can be read, or the person ended the input instead of answering.
    fn ask(&mut self, prompt: &str) -> io::Result<Password>;

    /// Shows a line.
    fn say(&mut self, line: &str);
}

/// The terminal that controls this process.
#[derive(Debug)]
pub struct ControllingTerminal;

impl Terminal for ControllingTerminal {
    fn ask(&mut self, prompt: &str) -> io::Result<Password> {
        rpassword::prompt_password(prompt).map(Password::new)
    }

    fn say(&mut self, line: &str) {
        // a terminal that went away is noticed by the next question
        let _ = open_terminal().and_then(|mut terminal| writeln!(terminal, "{line}"));
    }
}

#[cfg(unix)]
fn open_terminal() -> io::Result<impl Write> {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")
}

#[cfg(not(unix))]
fn open_terminal() -> io::Result<impl Write> {
    Ok(io::stderr())
}
