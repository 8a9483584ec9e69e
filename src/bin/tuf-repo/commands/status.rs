//! `status`: the repository at a glance.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, json};
use tuf::cli::clock::{after, parse_duration};
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::output::Verbosity;
use tuf::cli::text::one_line;
use tuf::metadata::{RoleName, time};
use tuf::repository::bins::BinSet;
use tuf::repository::{RoleStatus, Status, duration};

use super::edit::open_damaged;
use super::next;
use crate::context::Context;
use crate::failure::failure;

/// Show each role: versions, signatures, expiry, why it is dirty; and what to type next.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exit with 3 where a role is dirty, incomplete, expired or about to expire.
    #[arg(long)]
    check: bool,

    /// How soon an expiry counts for --check and is pointed out.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    expires_within: Option<TimeDelta>,

    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut repository = open_damaged(context)?;
    repository.read_all().map_err(failure)?;
    let status = repository.status().map_err(failure)?;
    let soon = after(context.now, args.expires_within.unwrap_or_default()).map_err(|refusal| {
        Failure::usage(refusal).with_hint(Hint::advice("give a shorter duration, such as 7d"))
    })?;
    let expiring: Vec<&RoleName> = status.expiring(soon).into_iter().map(|role| &role.role).collect();
    let roles: Map<String, _> =
        status.roles.iter().map(|role| (role.role.to_string(), role_json(role))).collect();
    let json = json!({
        "dirty": status.dirty(),
        "next": next::commands(&status.steps, context),
        "consistent_snapshot": status.consistent_snapshot,
        "published": status.published,
        "relation": status.relation.name(),
        "expiring": expiring,
        "roles": roles,
    });
    let expiry = Expiries { now: context.now, soon, within: args.expires_within };
    let human = || match args.markdown {
        true => markdown(&status, &expiry, context),
        false => plain(&status, &expiry, context),
    };
    context.output.result(human, json)?;
    let dirty = status.dirty().len();
    let has_news = status.relation.has_news();
    if args.check && (dirty > 0 || !expiring.is_empty() || has_news) {
        let names =
            |roles: Vec<&RoleName>| roles.into_iter().map(RoleName::as_str).collect::<Vec<_>>().join(", ");
        let mut words = Vec::new();
        if dirty > 0 {
            words.push(format!("dirty: {}", names(status.dirty())));
        }
        if has_news {
            words.push("live has something that this copy does not know".to_owned());
        }
        if !expiring.is_empty() {
            words.push(format!("expired or expiring: {}", names(expiring)));
        }
        let refresh = || format!("{} refresh --within {}", next::program(&context.repo), within(&args));
        let next = next::commands(&status.steps, context).into_iter().next().unwrap_or_else(refresh);
        return Err(Failure::attention(words.join("; ")).with_hint(Hint::command(next)));
    }
    Ok(())
}

fn within(args: &Args) -> String {
    duration::format(args.expires_within.unwrap_or_default())
}

fn role_json(role: &RoleStatus) -> serde_json::Value {
    let signed: Vec<_> = role.keys.iter().filter(|key| key.signed).map(|key| &key.keyid).collect();
    let keyids: Vec<_> = role.keys.iter().map(|key| &key.keyid).collect();
    let reasons: Vec<String> = role.reasons.iter().map(ToString::to_string).collect();
    let names: Map<String, _> =
        role.keys.iter().filter_map(|key| Some((key.keyid.to_string(), json!(key.name.as_ref()?)))).collect();
    json!({
        "written": role.written,
        "live": role.live,
        "draft": role.draft,
        "expires": role.expires.map(|expires| time::format(&expires)),
        "threshold": role.threshold,
        "keyids": keyids,
        "signed_by": signed,
        "names": names,
        "missing": role.missing,
        "reasons": reasons,
    })
}

const HEAD: [&str; 7] = ["role", "written", "live", "draft", "signatures", "expires", "why dirty"];

/// How expiries are shown.
struct Expiries {
    now: DateTime<Utc>,
    /// The moment up to which an expiry is pointed out.
    soon: DateTime<Utc>,
    /// How far that is from now, where it was asked for.
    within: Option<TimeDelta>,
}

impl Expiries {
    fn words(&self, expires: Option<DateTime<Utc>>) -> String {
        match (expires, self.within) {
            (None, _) => "-".to_owned(),
            (Some(expires), _) if expires <= self.now => format!("{} EXPIRED", time::format(&expires)),
            (Some(expires), Some(within)) if expires <= self.soon => {
                format!("{} WITHIN {}", time::format(&expires), duration::format(within))
            }
            (Some(expires), _) => time::format(&expires),
        }
    }
}

fn rows(status: &Status, expiry: &Expiries) -> Vec<[String; 7]> {
    let version =
        |version: Option<u64>| version.map_or_else(|| "-".to_owned(), |version| format!("v{version}"));
    let row = |role: &RoleStatus| {
        let missing: Vec<String> =
            role.keys.iter().filter(|key| !key.signed).map(|key| role.key_words(&key.keyid)).collect();
        let mut signatures =
            format!("{}/{}", role.threshold - role.missing.min(role.threshold), role.threshold);
        if role.missing > 0 && !missing.is_empty() {
            signatures.push_str(&format!(" (missing {})", missing.join(", ")));
        }
        let expires = expiry.words(role.expires);
        let reasons: Vec<String> = role.reasons.iter().map(ToString::to_string).collect();
        [
            one_line(role.role.as_str()),
            version(role.written),
            version(role.live),
            version(role.draft),
            signatures,
            expires,
            match reasons.len() {
                0..=6 => reasons.join("; "),
                many => format!("{}; and {} more", reasons[..4].join("; "), many - 4),
            },
        ]
    };
    let in_set = |role: &&RoleStatus| status.bins.iter().any(|set| set.contains(&role.role));
    let mut rows: Vec<[String; 7]> = Vec::new();
    let mut told: Vec<&BinSet> = Vec::new();
    for role in &status.roles {
        match status.bins.iter().find(|set| set.contains(&role.role)) {
            None => rows.push(row(role)),
            Some(set) if told.contains(&set) => {}
            Some(set) => {
                told.push(set);
                let bins: Vec<&RoleStatus> =
                    status.roles.iter().filter(in_set).filter(|role| set.contains(&role.role)).collect();
                rows.push(bins_row(set, &bins, expiry));
            }
        }
    }
    rows
}

/// All bins of a set in one row.
fn bins_row(set: &BinSet, bins: &[&RoleStatus], expiry: &Expiries) -> [String; 7] {
    let versions = |version: fn(&RoleStatus) -> Option<u64>| {
        let all: Vec<u64> = bins.iter().filter_map(|bin| version(bin)).collect();
        match (all.iter().min(), all.iter().max()) {
            (Some(low), Some(high)) if low == high => format!("v{low}"),
            (Some(low), Some(high)) => format!("v{low}-v{high}"),
            _ => "-".to_owned(),
        }
    };
    let drafts = bins.iter().filter(|bin| bin.draft.is_some()).count();
    let complete = bins.iter().filter(|bin| bin.missing == 0).count();
    let expires = expiry.words(bins.iter().filter_map(|bin| bin.expires).min());
    let dirty = bins.iter().filter(|bin| !bin.reasons.is_empty()).count();
    [
        format!("{} ({} hash bins)", one_line(set.prefix()), set.number()),
        versions(|bin| bin.written),
        versions(|bin| bin.live),
        if drafts > 0 { format!("{drafts} drafts") } else { "-".to_owned() },
        format!("{complete} of {} complete", bins.len()),
        expires,
        if dirty > 0 { format!("{dirty} are dirty") } else { String::new() },
    ]
}

fn dirty_line(status: &Status) -> String {
    match status.dirty_words().as_slice() {
        [] => "No dirty roles".to_owned(),
        roles => {
            format!("Dirty roles: {}", roles.iter().map(|role| one_line(role)).collect::<Vec<_>>().join(", "))
        }
    }
}

fn plain(status: &Status, expiry: &Expiries, context: &Context) -> String {
    let mut text = dirty_line(status) + "\n";
    status.missing_words().iter().for_each(|line| text.push_str(&format!("{line}\n")));
    status.root_change().iter().for_each(|line| text.push_str(&format!("{line}\n")));
    let rows = rows(status, expiry);
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([HEAD[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    text.push('\n');
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    text.push_str(&line(HEAD.to_vec()));
    rows.iter().for_each(|row| text.push_str(&line(row.iter().map(String::as_str).collect())));
    if context.output.verbosity() >= Verbosity::Verbose {
        for role in &status.roles {
            for key in &role.keys {
                let signed = if key.signed { "signed" } else { "not signed" };
                let name = key.name.iter().map(|name| format!(" ({name})")).collect::<String>();
                text.push_str(&format!(
                    "\n{}: key {}{name} {signed}",
                    one_line(role.role.as_str()),
                    key.keyid
                ));
            }
        }
        text.push('\n');
    }
    if status.relation.has_news() {
        text.push_str("\nLive has something that this copy does not know.\n");
    }
    let next = next::commands(&status.steps, context);
    if !next.is_empty() {
        text.push('\n');
        next.iter().for_each(|command| text.push_str(&format!("Next: {command}\n")));
    }
    text
}

fn markdown(status: &Status, expiry: &Expiries, context: &Context) -> String {
    let mut text = format!("**{}**\n\n", dirty_line(status));
    status.missing_words().iter().for_each(|line| text.push_str(&format!("- {line}\n")));
    text.push_str(&format!("\n| {} |\n|{}\n", HEAD.join(" | "), " --- |".repeat(HEAD.len())));
    let escaped = |cell: &String| cell.replace('|', "\\|");
    for row in rows(status, expiry) {
        text.push_str(&format!("| {} |\n", row.iter().map(escaped).collect::<Vec<_>>().join(" | ")));
    }
    next::commands(&status.steps, context)
        .iter()
        .for_each(|command| text.push_str(&format!("\nNext: `{command}`\n")));
    text
}
