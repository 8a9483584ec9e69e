//! `graph`: a picture of who trusts whom.

use serde_json::json;
use tuf::cli::failure::Outcome;

use super::edit::open;
use crate::context::Context;

/// Draw the roles, delegations, thresholds and keys, drafts in force.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The language of the picture.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// For Markdown that draws Mermaid.
    #[default]
    Mermaid,
    /// For Graphviz.
    Dot,
    /// An image.
    Svg,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let picture = open(context)?.picture();
    let (name, text) = match args.format {
        Format::Mermaid => ("mermaid", picture.mermaid()),
        Format::Dot => ("dot", picture.dot()),
        Format::Svg => ("svg", picture.svg()),
    };
    context.output.result(|| text.clone(), json!({ "format": name, "picture": text }))
}
