//! The two streams of a command: results on stdout, talk on stderr. Nothing else in the crate prints.

use std::env;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::text::{io_cause, one_line};

/// The version of the JSON that commands print.
pub const SCHEMA_VERSION: u64 = 1;

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Human,
    /// One JSON object.
    Json,
}

/// How much a command talks. Results, warnings and errors are not talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing.
    Quiet,
    /// What changed and what to type next.
    Normal,
    /// Each step.
    Verbose,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where a command's words go.
#[derive(Debug)]
pub struct Output {
    format: Format,
    verbosity: Verbosity,
    colors: Colors,
    has_result: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colors {
    On,
    Off,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[36m";

impl Output {
    /// Makes the output of a process. `Auto` colours where stderr is a terminal that is not `dumb` and
    /// NO_COLOR is unset or empty.
    pub fn new(format: Format, verbosity: Verbosity, color: ColorChoice) -> Self {
        let colors = match color {
            ColorChoice::Always => Colors::On,
            ColorChoice::Never => Colors::Off,
            ColorChoice::Auto => automatic_colors(),
        };
        Self { format, verbosity, colors, has_result: AtomicBool::new(false) }
    }

    /// Returns what results look like.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns how much the command talks.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Prints the result of a command, once: the text (a missing last newline is added, an empty text prints
    /// nothing), or the object with `schema_version` in it. A reader who has gone away is not a failure.
    ///
    /// # Errors
    /// [`FailureKind::Io`](super::failure::FailureKind::Io) where stdout takes no more, such as on a full disk.
    pub fn result(&self, human: impl FnOnce() -> String, json: Value) -> Outcome {
        self.has_result.store(true, Ordering::Relaxed);
        let text = match self.format {
            Format::Human => human(),
            Format::Json => versioned(json).to_string(),
        };
        printed(write_text(&mut io::stdout().lock(), &text))
    }

    /// Prints a result as [`Output::result`] does, piece by piece: for one that may be too long to be put together first.
    /// Only that is made which is printed: the lines, or the object, to which `schema_version` is added.
    ///
    /// # Errors
    /// As [`Output::result`].
    pub fn stream(
        &self,
        mut human: impl FnMut(&mut dyn Write) -> io::Result<()>,
        json: &impl Serialize,
    ) -> Outcome {
        self.has_result.store(true, Ordering::Relaxed);
        let mut stdout = BufWriter::new(io::stdout().lock());
        let written = match self.format {
            Format::Human => human(&mut stdout),
            Format::Json => write_versioned(&mut stdout, json),
        };
        printed(written.and_then(|()| stdout.flush()))
    }

    /// Says what happened or what to do next; `-q` silences it.
    pub fn talk(&self, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            tell(&one_line(line));
        }
    }

    /// Says what only `-v` wants to know.
    pub fn detail(&self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            tell(&one_line(line));
        }
    }

    /// Warns; `-q` does not silence it.
    pub fn warn(&self, line: &str) {
        self.tell_labelled(YELLOW, "warning:", line);
    }

    /// Reports the failure that ends a command and returns the exit code.
    pub fn failure(&self, failure: &Failure) -> u8 {
        let hint = failure.hint.as_ref().map(ToString::to_string);
        self.error(failure.kind.code(), &failure.to_string(), hint.as_deref());
        failure.kind.exit_code()
    }

    /// Reports an error under any code: the lines `error: …` and `hint: …` on stderr and, for JSON, the error
    /// object on stdout. Where the command has printed its result already that stays the only object.
    pub fn error(&self, code: &str, message: &str, hint: Option<&str>) {
        self.tell_labelled(RED, "error:", message);
        if let Some(hint) = hint {
            self.tell_labelled(CYAN, "hint:", hint);
        }
        if self.format == Format::Json && !self.has_result.load(Ordering::Relaxed) {
            let error = json!({ "code": code, "message": one_line(message), "hint": hint.map(one_line) });
            // stderr has told it: there is nobody left to tell that stdout is gone
            let _ = write_text(&mut io::stdout().lock(), &versioned(json!({ "error": error })).to_string());
        }
    }

    fn tell_labelled(&self, color: &str, label: &str, line: &str) {
        let line = one_line(line);
        match self.colors {
            Colors::On => tell(&format!("{color}{label}\x1b[0m {line}")),
            Colors::Off => tell(&format!("{label} {line}")),
        }
    }
}

fn automatic_colors() -> Colors {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !refused && !dumb && io::stderr().is_terminal() { Colors::On } else { Colors::Off }
}

fn versioned(json: Value) -> Value {
    let mut object = match json {
        Value::Object(object) => object,
        other => Map::from_iter([("result".to_owned(), other)]),
    };
    object.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    Value::Object(object)
}

/// Writes an object with `schema_version` in it, and the end of the line.
fn write_versioned(to: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        #[serde(flatten)]
        object: &'a T,
        schema_version: u64,
    }

    serde_json::to_writer(&mut *to, &Versioned { object, schema_version: SCHEMA_VERSION })?;
    to.write_all(b"\n")
}

/// Takes what became of writing to stdout.
fn printed(written: io::Result<()>) -> Outcome {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io(format!("cannot write to standard output: {}", io_cause(&error))))
        }
        _ => Ok(()),
    }
}

fn write_text(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Prints a line on stderr, also with `-q`.
pub fn tell(line: &str) {
    // what cannot be said cannot be complained about either
    let _ = write_text(&mut io::stderr().lock(), line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_says_its_schema_version() {
        assert_eq!(versioned(json!({"keyid": "x"})), json!({"keyid": "x", "schema_version": 1}));
        assert_eq!(versioned(json!([1])), json!({"result": [1], "schema_version": 1}));
    }

    #[test]
    fn an_object_that_is_streamed_is_the_one_that_is_made_first() {
        let object = json!({"deleted": ["a", "é\n"], "kept": 2, "roles": {}});
        let mut bytes = Vec::new();
        write_versioned(&mut bytes, &object).unwrap();
        assert!(bytes.ends_with(b"}\n"));
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), versioned(object));
    }

    #[test]
    fn a_text_ends_with_one_newline() {
        for (text, written) in [("", ""), ("a", "a\n"), ("a\n", "a\n")] {
            let mut bytes = Vec::new();
            write_text(&mut bytes, text).unwrap();
            assert_eq!(bytes, written.as_bytes());
        }
    }

    #[test]
    fn an_explicit_color_choice_wins_over_the_environment() {
        let colors = |choice| Output::new(Format::Human, Verbosity::Normal, choice).colors;
        assert_eq!(colors(ColorChoice::Always), Colors::On);
        assert_eq!(colors(ColorChoice::Never), Colors::Off);
    }
}
