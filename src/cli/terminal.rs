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

/// Asks the person at the terminal a question; yes is `y` or `yes`.
///
/// # Errors
/// Where nothing can be asked or read.
pub fn confirm(question: &str) -> io::Result<bool> {
    let mut terminal = open_terminal()?;
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut answer = String::new();
    read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(unix)]
fn read_line(answer: &mut String) -> io::Result<usize> {
    io::BufRead::read_line(&mut io::BufReader::new(std::fs::File::open("/dev/tty")?), answer)
}

#[cfg(not(unix))]
fn read_line(answer: &mut String) -> io::Result<usize> {
    io::stdin().read_line(answer)
}

/// The terminal that controls this process.
#[derive(Debug)]
pub struct ControllingTerminal;

impl Terminal for ControllingTerminal {
    #[cfg(unix)]
    fn ask(&mut self, prompt: &str) -> io::Result<Password> {
        let keyboard = keyboard::Keyboard::open()?;
        let config = rpassword::ConfigBuilder::new().input_reader(keyboard).build();
        let password = rpassword::prompt_password_with_config(prompt, config).map(Password::new);
        // the line that the person ended was not echoed
        self.say("");
        password
    }

    #[cfg(not(unix))]
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

/// The keyboard without an echo. `rpassword` would set the terminal by itself, and leaves it so where ^C ends the program
/// (<https://github.com/conradkleinespel/rpassword/pull/134>): then no shell that does not mend it shows what is typed.
#[cfg(unix)]
mod keyboard {
    use std::fs::File;
    use std::io::{self, Read};

    use rustix::process::{Signal, kill_current_process_group};
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

    /// What the key ^C sends.
    const INTERRUPT: u8 = 3;

    /// The terminal as it is typed at, key by key; as it was again once this is dropped.
    pub(super) struct Keyboard {
        terminal: File,
        before: Termios,
    }

    impl Keyboard {
        pub(super) fn open() -> io::Result<Self> {
            let terminal = File::open("/dev/tty")?;
            let before = tcgetattr(&terminal)?;
            let mut silent = before.clone();
            let modes = LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
            silent.local_modes.remove(modes);
            silent.special_codes[SpecialCodeIndex::VMIN] = 1;
            silent.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&terminal, OptionalActions::Now, &silent)?;
            Ok(Self { terminal, before })
        }

        fn restore(&self) {
            // a terminal that went away has nothing to restore
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        }
    }

    impl Read for Keyboard {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.terminal.read(buffer)?;
            if !buffer[..length].contains(&INTERRUPT) {
                return Ok(length);
            }
            self.restore();
            // to all that the terminal would have told: a script is to end as well
            kill_current_process_group(Signal::INT)?;
            Err(io::Error::other("interrupted"))
        }
    }

    impl Drop for Keyboard {
        fn drop(&mut self) {
            self.restore();
        }
    }
}
