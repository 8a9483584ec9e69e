//! `man`: writes the manual, one page per command.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::text::{quoted, shell_word};
use tuf::storage::Folder;

use super::common::DryRun;
use crate::args::Cli;
use crate::context::Context;

/// Write the manual to a folder, one page per command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; it is made where it is missing, pages in it are replaced.
    dir: PathBuf,

    #[command(flatten)]
    dry_run: DryRun,
}

/// A page of the manual.
struct Page {
    name: String,
    text: Vec<u8>,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    render(&command, &mut pages)?;
    if !args.dry_run.dry_run {
        fs::create_dir_all(&args.dir)
            .map_err(|error| Failure::cannot("make the folder", &args.dir, &error))?;
        put(&args.dir, &pages).map_err(|error| Failure::cannot("write to", &args.dir, &error))?;
    }
    let made = if args.dry_run.dry_run { "Would write" } else { "Wrote" };
    context.output.talk(&format!("{made} {} pages to {}.", pages.len(), quoted(&args.dir)));
    let names: Vec<_> = pages.into_iter().map(|page| page.name).collect();
    let json = json!({ "dir": args.dir.to_string_lossy(), "pages": names, "dry_run": args.dry_run.dry_run });
    context.output.result(String::new, json)?;
    let page = args.dir.join("tuf-repo.1");
    context.output.detail(&format!("Next: man {}", shell_word(&page.to_string_lossy())));
    Ok(())
}

fn put(dir: &Path, pages: &[Page]) -> io::Result<()> {
    let folder = Folder::new(dir);
    let mut batch = folder.batch()?;
    for page in pages {
        batch.put(page.name.as_str(), &page.text)?;
    }
    batch.commit()
}

fn render(command: &Command, pages: &mut Vec<Page>) -> Outcome {
    let man = clap_mangen::Man::new(command.clone());
    let name = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| Failure::io(format!("cannot write the page {name}: {error}")))?;
    pages.push(Page { name, text });
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.into_iter().try_for_each(|command| render(command, pages))
}
