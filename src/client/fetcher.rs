//! How the client reaches out: one request at a time, into a sink, never more than a given number of bytes.

use std::io;

use url::Url;

use super::{FileFetcher, HttpFetcher, shown};

/// Reads what a URL names. Several threads may ask at once.
pub trait Fetcher: Sync {
    /// Streams the body behind a URL into a sink: one request, at most `max_length` bytes, those that the sink has
    /// already included.
    ///
    /// # Errors
    /// [`FetchError`]; the sink may have taken some bytes by then.
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError>;
}

/// Takes a body.
pub trait Sink {
    /// Hears that a request is about to be made, for the first time or once more. Returns how many bytes of the body
    /// the sink has and keeps; those that are taken next follow them.
    ///
    /// # Errors
    /// [`io::Error`] where the sink cannot take anything.
    fn begin(&mut self) -> io::Result<u64>;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`io::Error`] where they cannot be kept.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Keeps a body in memory; nothing of it outlives a request that failed.
impl Sink for Vec<u8> {
    fn begin(&mut self) -> io::Result<u64> {
        self.clear();
        Ok(0)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Stands between a body that comes from `at` on and a sink that wants it from `wanted` on, up to `end`.
pub(super) struct Window {
    at: u64,
    wanted: u64,
    end: u64,
}

impl Window {
    pub(super) fn new(at: u64, wanted: u64, end: u64) -> Self {
        Self { at, wanted, end }
    }

    /// Hands on what the sink wants of a chunk; tells whether the body goes beyond the end.
    pub(super) fn pass(&mut self, chunk: &[u8], sink: &mut dyn Sink) -> io::Result<Option<Fetched>> {
        let index = |position: u64| {
            let distance = usize::try_from(position.saturating_sub(self.at)).unwrap_or(usize::MAX);
            distance.min(chunk.len())
        };
        let (from, to) = (index(self.wanted), index(self.end));
        if from < to {
            sink.take(&chunk[from..to])?;
        }
        self.at = self.at.saturating_add(chunk.len() as u64);
        Ok((to < chunk.len()).then_some(Fetched::Cut))
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// The sink has all of it.
    Whole,
    /// There was more than the maximum; the sink has the maximum.
    Cut,
}

/// A URL could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{} {cause}", shown(.url))]
pub struct FetchError {
    /// The URL.
    pub url: Url,
    /// What went wrong.
    pub cause: FetchCause,
}

impl FetchError {
    pub(super) fn new(url: &Url, cause: FetchCause) -> Self {
        Self { url: url.clone(), cause }
    }

    /// Tells whether the server answered that there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self.cause, FetchCause::NotFound { .. })
    }

    /// Tells whether the same request may well succeed in a moment: no connection, one that broke, or a server that
    /// says it is in trouble.
    pub fn is_transient(&self) -> bool {
        match self.cause {
            FetchCause::Connection { .. } => true,
            FetchCause::Status { status } => (500..600).contains(&status),
            _ => false,
        }
    }
}

/// Why a URL could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchCause {
    /// There is no such file: HTTP 403, 404 or 410, or nothing at a path.
    #[error("was not found{}", .status.map(|status| format!(" (HTTP {status})")).unwrap_or_default())]
    NotFound {
        /// The HTTP status, where HTTP was spoken.
        status: Option<u16>,
    },
    /// The server answered with another status than 200.
    #[error("was answered with HTTP {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The server fell silent within its answer.
    #[error("was given up: the server was silent for {seconds} seconds")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The server did not finish the head of its answer.
    #[error("was given up: there was no answer within {seconds} seconds")]
    NoAnswer {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The server sent less than the minimum speed asks for.
    #[error("was given up: {bytes_per_second} bytes a second came, {minimum} are the minimum")]
    Slow {
        /// The average over the last stretch of time.
        bytes_per_second: u64,
        /// The minimum.
        minimum: u64,
    },
    /// One request took too long altogether.
    #[error("was given up: it took more than {seconds} seconds")]
    TooLong {
        /// The limit.
        seconds: u64,
    },
    /// The server answered a request for the rest of a file with something else.
    #[error("was answered with another part of the file than asked for")]
    OtherRange,
    /// The connection took too long to come about.
    #[error("was given up: there was no connection within {seconds} seconds")]
    NoConnection {
        /// How long it was waited for.
        seconds: u64,
    },
    /// No connection, or one that broke.
    #[error("could not be read: {reason}")]
    Connection {
        /// What the network said.
        reason: String,
    },
    /// The server pointed somewhere it may not point.
    #[error("was redirected in vain: {reason}")]
    Redirect {
        /// What was wrong with it.
        reason: String,
    },
    /// No way to read URLs of this kind.
    #[error("is not a http, https or file URL that can be read")]
    UnsupportedUrl,
    /// A local file could not be read.
    #[error("could not be read: {0}")]
    Read(io::Error),
    /// The sink refused the bytes.
    #[error("could not be written: {0}")]
    Write(io::Error),
}

/// Reads `http`, `https` and `file` URLs.
pub struct SchemeFetcher {
    http: HttpFetcher,
    file: FileFetcher,
}

impl SchemeFetcher {
    /// Puts the two ways together.
    pub fn new(http: HttpFetcher) -> Self {
        Self { http, file: FileFetcher }
    }
}

impl Fetcher for SchemeFetcher {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
        match url.scheme() {
            "http" | "https" => self.http.fetch(url, max_length, sink),
            "file" => self.file.fetch(url, max_length, sink),
            _ => Err(FetchError::new(url, FetchCause::UnsupportedUrl)),
        }
    }
}
