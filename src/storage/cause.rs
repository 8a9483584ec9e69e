//! What a bucket's server or the way to it said, in a few words. Bodies of answers and URLs of requests stay out: they are
//! long, and what they hold is not for everybody's eyes.

use std::error::Error;
use std::io;

/// How the crate's text for an answer that is no success starts.
const STATUS: &str = "Server returned non-2xx status code: ";

/// Turns an error of a bucket into one of input and output, on one line.
pub(super) fn io_error(error: object_store::Error) -> io::Error {
    use object_store::Error as Cause;
    let kind = match &error {
        Cause::NotFound { .. } => io::ErrorKind::NotFound,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        Cause::AlreadyExists { .. } | Cause::Precondition { .. } => io::ErrorKind::AlreadyExists,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, words(&error))
}

fn words(error: &object_store::Error) -> String {
    let mut links: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(link) = next {
        links.push(link.to_string());
        next = link.source();
    }
    if let Some(answer) = links.iter().find_map(|link| link.strip_prefix(STATUS)) {
        return refusal(answer);
    }
    // the address at which the clouds tell a machine its credentials
    if links.iter().any(|link| link.contains("169.254.169.254") || link.contains("metadata.google.internal"))
    {
        return "no credentials: none are in the environment, and this machine is given none".to_owned();
    }
    let deepest = links.pop().unwrap_or_default();
    let line = deepest.lines().next().unwrap_or_default();
    match line.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => line.to_owned(),
    }
}

/// Says what an answer of the server means: its status and, where it names one, its code.
fn refusal(answer: &str) -> String {
    let (status, body) = answer.split_once(": ").unwrap_or((answer, ""));
    let code =
        body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let code = code.filter(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let meaning = match (code, status.split(' ').next().unwrap_or_default()) {
        (Some("NoSuchBucket" | "ContainerNotFound"), _) => "there is no such bucket",
        (Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken"), _)
        | (_, "401") => "the server does not accept the credentials",
        (_, "301" | "307") => "the bucket is in another region, which AWS_REGION names",
        (_, "403") => "the credentials do not permit it",
        (_, "404") => "there is no such object",
        _ => "the server answered",
    };
    match code {
        Some(code) => format!("{meaning} ({status}, {code})"),
        None => format!("{meaning} ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: Box::from(text) }
    }

    #[test]
    fn an_answer_is_told_by_its_meaning_and_without_its_body() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>AWS4 secret\nthings</StringToSign></Error>";
        let error = io_error(failed(&format!("{STATUS}403 Forbidden: {body}")));
        let words = "the server does not accept the credentials (403 Forbidden, SignatureDoesNotMatch)";
        assert_eq!(error.to_string(), words);
        let error =
            io_error(failed(&format!("{STATUS}404 Not Found: <Error><Code>NoSuchBucket</Code></Error>")));
        assert_eq!(error.to_string(), "there is no such bucket (404 Not Found, NoSuchBucket)");
        let error = io_error(failed(&format!("{STATUS}503 Service Unavailable: <html>")));
        assert_eq!(error.to_string(), "the server answered (503 Service Unavailable)");
    }

    #[test]
    fn what_the_system_said_is_told_without_its_number() {
        assert_eq!(io_error(failed("Connection refused (os error 111)")).to_string(), "Connection refused");
    }
}
