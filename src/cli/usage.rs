//! What the argument parser refuses, told the way every other failure is.

use std::ffi::OsString;

use clap::Command;
use clap::error::ErrorKind;

use super::failure::Failure;
use super::hint::Hint;
use super::output::Format;

/// Turns a refusal of the argument parser into a failure of kind `Usage`; none where help or the version was
/// asked for. `words` is the command line that `command` refused.
pub fn refusal(error: &clap::Error, command: &Command, words: &[OsString]) -> Option<Failure> {
    let help = || help_command(command, words);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Some(Failure::usage("no command was given").with_hint(Hint::command(help())))
        }
        _ => {
            let (message, tip) = message_and_tip(&error.render().to_string());
            Some(Failure::usage(message).with_hint(tip.map_or_else(|| Hint::command(help()), Hint::advice)))
        }
    }
}

/// Finds out which format a command line asks for that could not be parsed.
pub fn requested_format(words: &[OsString]) -> Format {
    let mut flags = words.iter().take_while(|word| *word != "--");
    if flags.any(|word| word == "--json") { Format::Json } else { Format::Human }
}

/// The parser's text is paragraphs: `error: …`, perhaps tips, the usage.
fn message_and_tip(text: &str) -> (String, Option<String>) {
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n").map(words);
    let first = paragraphs.next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    (message, paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned)))
}

/// Returns the command that prints the help of the command that was meant.
fn help_command(command: &Command, words: &[OsString]) -> String {
    let mut path = command.get_name().to_owned();
    let mut meant = command;
    for word in words.iter().skip(1) {
        if let Some(inner) = meant.find_subcommand(word) {
            meant = inner;
            path = format!("{path} {}", inner.get_name());
        }
    }
    format!("{path} --help")
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn parse(words: &[&str]) -> Option<Failure> {
        let file = Arg::new("file").required(true).value_name("FILE");
        let level = Arg::new("level").long("level").value_parser(["low", "high"]);
        let inner = Command::new("inner").arg(file).arg(level);
        let command =
            Command::new("tool").version("1").subcommand_required(true).arg_required_else_help(true);
        let mut command = command.subcommand(inner);
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        let error = command.try_get_matches_from_mut(&words).unwrap_err();
        refusal(&error, &command, &words)
    }

    #[test]
    fn a_refusal_is_one_line_and_a_hint() {
        for (words, message, hint) in [
            (&["tool"][..], "no command was given", "tool --help"),
            (
                &["tool", "inner"],
                "the following required arguments were not provided: <FILE>",
                "tool inner --help",
            ),
            (
                &["tool", "inner", "--level", "x", "f"],
                "invalid value 'x' for '--level <level>' [possible values: low, high]",
                "tool inner --help",
            ),
            (
                &["tool", "inner", "--levle", "x"],
                "unexpected argument '--levle' found",
                "a similar argument exists: '--level'",
            ),
        ] {
            let failure = parse(words).unwrap();
            assert_eq!(failure.message, message);
            assert_eq!(failure.hint.unwrap().to_string(), hint, "{message}");
        }
    }

    #[test]
    fn asking_for_help_is_no_failure() {
        assert_eq!(parse(&["tool", "--help"]), None);
        assert_eq!(parse(&["tool", "inner", "-h"]), None);
        assert_eq!(parse(&["tool", "--version"]), None);
    }

    #[test]
    fn the_format_is_known_before_the_command_line_is() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(requested_format(&words(&["tool", "--nonsense", "--json"])), Format::Json);
        assert_eq!(requested_format(&words(&["tool", "--nonsense", "--", "--json"])), Format::Human);
    }
}
