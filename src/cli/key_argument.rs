//! Keys as commands name them: paths and references.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::signers::exec::CommandLine;
use crate::signers::token_uri::TokenUri;

/// Where a key is: a path or a key reference. Its `Display` is what was typed.
///
/// A path that looks like a reference is written `./exec:…` or `file:exec:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyArgument {
    typed: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Variable(String),
    Command(CommandLine),
    /// What the SSH agent calls the key.
    Agent(String),
    Token(TokenUri),
}

impl FromStr for KeyArgument {
    type Err = String;

    /// Reads `PATH`, `file:PATH`, `env:VAR`, `exec:COMMAND …`, `ssh-agent:FINGERPRINT` or `pkcs11:…`.
    fn from_str(typed: &str) -> Result<Self, String> {
        let (scheme, rest) = typed.split_once(':').unwrap_or(("", typed));
        if typed.is_empty() || rest.is_empty() && is_reference(scheme) {
            return Err("it names no key".to_owned());
        }
        let place = match scheme {
            "file" => Place::File(rest.into()),
            // what std::env refuses by a panic
            "env" if rest.contains(['=', '\0']) => {
                return Err("no environment variable has such a name".to_owned());
            }
            "env" => Place::Variable(rest.to_owned()),
            "exec" => Place::Command(CommandLine::parse(rest)?),
            "ssh-agent" => Place::Agent(agent_name(rest)?),
            "pkcs11" => Place::Token(TokenUri::parse(typed)?),
            _ => Place::File(typed.into()),
        };
        Ok(Self { typed: typed.to_owned(), place })
    }
}

fn is_reference(scheme: &str) -> bool {
    matches!(scheme, "file" | "env" | "exec" | "ssh-agent" | "pkcs11")
}

fn agent_name(text: &str) -> Result<String, String> {
    let is_key_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.starts_with("SHA256:") || is_key_id {
        return Ok(text.to_owned());
    }
    Err("it is neither a fingerprint SHA256:… as `ssh-add -l` prints it nor a key id".to_owned())
}

impl fmt::Display for KeyArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl KeyArgument {
    /// Returns the path, where the key is a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argument(typed: &str) -> KeyArgument {
        typed.parse().unwrap()
    }

    #[test]
    fn reads_paths_and_references_as_typed() {
        let id = "ab".repeat(32);
        let by_id = format!("ssh-agent:{id}");
        for typed in [
            "keystore/root_key",
            "file:keystore/root_key",
            "env:ROOT_KEY",
            "exec:sign-with-hsm --slot 1",
            "ssh-agent:SHA256:abc",
            &by_id,
            "pkcs11:token=x;object=y?module-path=/lib/p11.so",
            "c:odd",
            "./exec:x",
        ] {
            assert_eq!(argument(typed).to_string(), typed);
        }
        assert_eq!(argument("file:a b").path(), Some(Path::new("a b")));
        assert_eq!(argument("c:odd").path(), Some(Path::new("c:odd")));
        assert_eq!(argument("./exec:x").path(), Some(Path::new("./exec:x")));
        for typed in ["env:ROOT_KEY", "exec:x", "pkcs11:token=x"] {
            assert_eq!(argument(typed).path(), None);
        }
    }

    #[test]
    fn refuses_references_that_name_nothing() {
        for typed in [
            "",
            "file:",
            "env:",
            "env:A=B",
            "env:\0",
            "exec:",
            "exec: ",
            "exec:a 'b",
            "ssh-agent:",
            "ssh-agent:MD5:00",
            "pkcs11:",
            "pkcs11:token=x;pin-value=1",
        ] {
            assert!(typed.parse::<KeyArgument>().is_err(), "{typed:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in "(file:|env:|exec:|ssh-agent:|pkcs11:)?\\PC{0,40}") {
            let _ = text.parse::<KeyArgument>();
        }
    }
}
