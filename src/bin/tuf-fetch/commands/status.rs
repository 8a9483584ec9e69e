//! `status`: what is trusted here, without a request.

use serde_json::{Map, Value, json};
use tuf::cli::text::one_line;
use tuf::client::{self, LocalMetadata, LocalRole, Standing};
use tuf::metadata::time;

use crate::failure::Failure;
use crate::session::Session;

pub fn run(session: &Session<'_>) -> Result<(), Failure> {
    let local = LocalMetadata::open(session.metadata_dir())?;
    let roles = client::status(&local, session.now)?;
    let described: Map<String, Value> =
        roles.iter().map(|role| (role.role.to_string(), role_json(role))).collect();
    let json = json!({
        "root": version(&roles, "root"),
        "timestamp": version(&roles, "timestamp"),
        "snapshot": version(&roles, "snapshot"),
        "targets": version(&roles, "targets"),
        "downloaded": [],
        "roles": described,
    });
    session.output.result(|| roles.iter().map(role_line).collect(), json)?;
    Ok(())
}

/// Returns the version of a role that is trusted, or was until it expired.
fn version(roles: &[LocalRole], name: &str) -> Option<u64> {
    let role = roles.iter().find(|role| role.role.as_str() == name)?;
    let trusted = matches!(role.standing, Standing::Trusted | Standing::Expired);
    role.stated.filter(|_| trusted).map(|(version, _)| version)
}

fn role_line(role: &LocalRole) -> String {
    let name = one_line(role.role.as_str());
    let standing = match &role.standing {
        Standing::Trusted => "trusted".to_owned(),
        Standing::Expired => "expired".to_owned(),
        Standing::Refused(error) => one_line(&format!("not trusted: {error}")),
        Standing::NotJudged => "kept for when it is needed".to_owned(),
    };
    match &role.stated {
        Some((version, expires)) => {
            format!("{name} v{version}, expires {}, {standing}\n", time::format(expires))
        }
        None => format!("{name}, {standing}\n"),
    }
}

fn role_json(role: &LocalRole) -> Value {
    let (standing, reason) = match &role.standing {
        Standing::Trusted => ("trusted", None),
        Standing::Expired => ("expired", None),
        Standing::Refused(error) => ("refused", Some(error.to_string())),
        Standing::NotJudged => ("kept", None),
    };
    json!({
        "version": role.stated.map(|(version, _)| version),
        "expires": role.stated.map(|(_, expires)| time::format(&expires)),
        "standing": standing,
        "reason": reason,
    })
}
