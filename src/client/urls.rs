//! The URLs of metadata and targets below a repository's two base URLs.

use url::Url;

use crate::metadata::{NameDigest, RoleName, TargetPath};

/// Reads a base URL: `http`, `https` or `file`, with or without a slash at the end.
///
/// # Errors
/// A sentence for people.
pub fn parse_base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("'{}' is not a URL: {error}", text.escape_debug()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        "file" if url.to_file_path().is_ok() => Ok(url),
        _ => Err(format!("'{}' is not a http, https or file URL", text.escape_debug())),
    }
}

/// Writes a URL for people, without what may be a secret in it: a name and password, or what stands behind a question mark.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // what has a name or a password has a host, so neither can fail
    if url.password().is_some() {
        let _ = url.set_password(Some("***"));
    } else if !url.username().is_empty() {
        let _ = url.set_username("***");
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.into()
}

/// Appends a folder to a base URL.
pub(super) fn folder(base: &Url, name: &str) -> Url {
    below(base, [name])
}

/// Returns the URL of a role's metadata, of a version where files are versioned.
pub(super) fn metadata(base: &Url, role: &RoleName, version: Option<u64>) -> Url {
    let name = match version {
        Some(version) => format!("{version}.{}.json", role.encoded()),
        None => format!("{}.json", role.encoded()),
    };
    // the name is percent-encoded already, which is how servers get it; on a disk it is the file's own name
    let name = if base.scheme() == "file" { name.replace('%', "%25") } else { name };
    below(base, [name.as_str()])
}

/// Returns the URL of a target, or of its copy named by a hash.
pub(super) fn target(base: &Url, path: &TargetPath, hash: Option<NameDigest<'_>>) -> Url {
    let path = match hash {
        Some(hash) => path.hash_named(hash),
        None => path.as_str().to_owned(),
    };
    let parts: Vec<String> = path.split('/').map(encode).collect();
    below(base, parts.iter().map(String::as_str))
}

/// Appends encoded parts to the path of a base URL; its query, if any, stays.
fn below<'a>(base: &Url, parts: impl IntoIterator<Item = &'a str>) -> Url {
    let mut path = base.path().trim_end_matches('/').to_owned();
    for part in parts {
        path.push('/');
        path.push_str(part);
    }
    let mut url = base.clone();
    url.set_path(&path);
    url.set_fragment(None);
    url
}

/// Percent-encodes one part of a path. What a part of a URL may hold stands for itself, except `+`, which some object
/// stores read as a space.
fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~!$&'()*,;=:@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Algorithm;

    fn role(name: &str) -> RoleName {
        RoleName::new(name).unwrap()
    }

    #[test]
    fn unusual_role_names_stay_one_part_of_the_path() {
        let base = parse_base("http://example.org/repo/metadata/").unwrap();
        for (name, last) in
            [("?", "%3F"), ("#", "%23"), ("/x", "%2Fx"), ("../x", "..%2Fx"), ("é", "%C3%A9"), ("..", "..")]
        {
            let url = metadata(&base, &role(name), Some(1));
            assert_eq!(url.as_str(), format!("http://example.org/repo/metadata/1.{last}.json"), "{name}");
        }
    }

    #[test]
    fn a_file_url_names_the_encoded_file() {
        let base = parse_base("file:///repo/metadata").unwrap();
        let path = metadata(&base, &role("a/b"), None).to_file_path().unwrap();
        assert_eq!(path.to_str(), Some("/repo/metadata/a%2Fb.json"));
        let path = TargetPath::parse("a b/c%2F#?.txt").unwrap();
        assert_eq!(
            target(&base, &path, None).to_file_path().unwrap().to_str(),
            Some("/repo/metadata/a b/c%2F#?.txt")
        );
    }

    #[test]
    fn targets_are_encoded_part_by_part() {
        let base = parse_base("https://example.org").unwrap();
        let path = TargetPath::parse("dir/a+b ?.txt").unwrap();
        assert_eq!(target(&base, &path, None).as_str(), "https://example.org/dir/a%2Bb%20%3F.txt");
        let hash = "f".repeat(64);
        let digest = NameDigest::parse(Algorithm::Sha256, &hash);
        let expected = format!("https://example.org/dir/{hash}.a%2Bb%20%3F.txt");
        assert_eq!(target(&base, &path, digest).as_str(), expected);
        let path = TargetPath::parse("%2e%2e/x").unwrap();
        assert_eq!(target(&base, &path, None).as_str(), "https://example.org/%252e%252e/x");
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = parse_base("https://me:secret@example.org/x").unwrap();
        assert_eq!(shown(&url), "https://me:***@example.org/x");
        let url = parse_base("https://T0KEN@example.org/x?sv=1&sig=S3CRET").unwrap();
        assert_eq!(shown(&url), "https://***@example.org/x?***");
        for text in ["", "example.org", "ftp://example.org", "file://elsewhere/x", "http:"] {
            assert!(parse_base(text).is_err(), "{text}");
        }
    }
}
