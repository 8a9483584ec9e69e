//! `serve`: a development server.

use std::net::SocketAddr;

use serde_json::json;
use tuf::cli::failure::{Failure, Outcome};
use tuf::cli::hint::Hint;
use tuf::cli::static_server::serve;
use tuf::cli::text::{io_cause, quoted};

use super::edit::open;
use crate::context::Context;

/// Serve metadata/ and targets/ over HTTP for development, until interrupted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDR")]
    bind: SocketAddr,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let repository = open(context)?;
    let ready = |address: SocketAddr| {
        let url = format!("http://{address}");
        context.output.talk(&format!(
            "Serving {} at {url}, Ctrl-C stops. Next: tuf-fetch --repo {url}",
            quoted(repository.dir())
        ));
        // a reader who is gone does not stop the server
        let _ = context.output.result(|| url.clone(), json!({ "url": url }));
    };
    let verbosity = context.output.verbosity();
    let log = move |line: &str| {
        if verbosity >= tuf::cli::output::Verbosity::Verbose {
            tuf::cli::output::tell(line);
        }
    };
    serve(repository.dir(), args.bind, ready, log).map_err(|error| {
        Failure::io(format!("cannot serve at {}: {}", args.bind, io_cause(&error)))
            .with_hint(Hint::explained("take a free port", "tuf-repo serve --bind 127.0.0.1:0"))
    })
}
