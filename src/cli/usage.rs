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
            let said = without_secrets(error.render().to_string(), words);
            let (message, tip) = message_and_tip(&said);
            Some(Failure::usage(message).with_hint(tip.map_or_else(|| Hint::command(help()), Hint::advice)))
        }
    }
}

/// Hides names and passwords, and what stands behind a question mark, of the URLs on a command line in what is said of it.
fn without_secrets(mut said: String, words: &[OsString]) -> String {
    for word in words.iter().filter_map(|word| word.to_str()) {
        let value = match word.split_once('=') {
            Some((option, value)) if option.starts_with('-') => value,
            _ => word,
        };
        let Some(shown) = masked(value) else { continue };
        for spelled in [value.to_owned(), value.escape_debug().to_string()] {
            said = said.replace(&spelled, &shown);
        }
    }
    said
}

/// Returns a URL, which need not be a right one, with stars for what may be a secret in it; `None` where nothing is.
fn masked(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(":/")?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
    let (path, query) = host.split_once('?').map_or((host, None), |(path, query)| (path, Some(query)));
    if user.is_none() && query.is_none() {
        return None;
    }
    let (user, query) = (user.map_or("", |_| "***@"), query.map_or("", |_| "?***"));
    Some(format!("{scheme}://{user}{path}{query}"))
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

    #[test]
    fn what_may_be_a_secret_of_a_url_is_not_said() {
        for (value, shown) in [
            ("https://user:s3cret@h:99999/x", "https://***@h:99999/x"),
            ("htp://s3cret@h", "htp://***@h"),
            ("ftp://user:s3/c\"r@et@h?a=s3cret", "ftp://***@h?***"),
            ("https:/user:s3cret@h", "https://***@h"),
            ("https://h:x/?sig=s3cret", "https://h:x/?***"),
        ] {
            for words in [vec![value.to_owned()], vec![format!("--repo={value}")]] {
                let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
                let said = format!("invalid value '{value}': '{}' is none", value.escape_debug());
                let expected = format!("invalid value '{shown}': '{shown}' is none");
                assert_eq!(without_secrets(said, &words), expected);
            }
        }
        let plain = [OsString::from("http://h:99999/x")];
        assert_eq!(without_secrets("'http://h:99999/x'".to_owned(), &plain), "'http://h:99999/x'");
    }

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
