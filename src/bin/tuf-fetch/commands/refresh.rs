//! `refresh`: the top-level metadata, brought up to date.

use crate::failure::Failure;
use crate::session::{Need, Session, versions_json, versions_text};

pub fn run(session: &Session<'_>) -> Result<(), Failure> {
    let mirrors = session.mirrors(Need::Metadata)?;
    let fetcher = session.fetcher()?;
    let versions = session.refreshed(&fetcher, mirrors)?.versions();
    session.output.result(|| versions_text(versions), versions_json(versions))?;
    Ok(())
}
