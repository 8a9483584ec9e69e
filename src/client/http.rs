//! `http:` and `https:` URLs, over a network that may mean harm: every wait ends, every stream has a minimum speed.

use std::error::Error as _;
use std::io::Write;
use std::time::{Duration, Instant};

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use url::Url;

use super::fetcher::{FetchCause, FetchError, Fetched, Fetcher};
use super::tls;

/// How many redirects one request follows.
const MOST_REDIRECTS: usize = 5;
/// The largest body of an error page that is read so that its connection can be used again.
const ERROR_PAGE: u64 = 16 * 1024;

/// The patience of a [`HttpFetcher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// What the client calls itself.
    pub user_agent: String,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long a server may be silent, be it before its answer or within it.
    pub silence: Duration,
    /// How long one request may take altogether.
    pub total: Duration,
    /// The least number of bytes a second, as an average over each `stretch` of a body.
    pub minimum_speed: u64,
    /// Over how long the speed is averaged.
    pub stretch: Duration,
}

impl Default for HttpOptions {
    /// A server that is silent, or drips less than 1 KiB a second, is given up within 45 seconds.
    fn default() -> Self {
        Self {
            user_agent: concat!("tuf-fetch/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(15),
            total: Duration::from_secs(24 * 3600),
            minimum_speed: 1024,
            stretch: Duration::from_secs(15),
        }
    }
}

/// Reads `http:` and `https:` URLs, keeping connections open between requests.
///
/// It drives a runtime of its own, so it must not be called from within another one.
pub struct HttpFetcher {
    options: HttpOptions,
    runtime: Runtime,
    client: Client,
}

impl HttpFetcher {
    /// Makes a fetcher. Proxies come from the environment, certificate authorities from the system.
    ///
    /// # Errors
    /// A sentence for people where the system gives no sockets or the options make no client.
    pub fn new(options: HttpOptions) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the network is out of reach: {error}"))?;
        let tls = tls::config().map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(options.user_agent.as_str())
            .connect_timeout(options.connect)
            .redirect(Policy::custom(redirect))
            .referer(false)
            .build()
            .map_err(|error| format!("HTTP cannot be set up: {}", deepest(&error)))?;
        Ok(Self { options, runtime, client })
    }

    async fn request(&self, url: &Url, max_length: u64, sink: &mut dyn Write) -> Result<Fetched, FetchCause> {
        let silent = || FetchCause::Silent { seconds: self.options.silence.as_secs() };
        let sent = timeout(self.options.silence, self.client.get(url.clone()).send());
        let response = sent.await.map_err(|_| silent())?.map_err(cause)?;
        match response.status() {
            StatusCode::OK => self.body(response, max_length, sink).await,
            status => {
                self.drain(response).await;
                Err(refusal(status.as_u16()))
            }
        }
    }

    async fn body(
        &self,
        mut response: Response,
        max_length: u64,
        sink: &mut dyn Write,
    ) -> Result<Fetched, FetchCause> {
        let mut left = max_length;
        let mut pace = Pace::new(&self.options);
        loop {
            let asked = Instant::now();
            let chunk = timeout(self.options.silence, response.chunk()).await;
            let chunk = chunk.map_err(|_| FetchCause::Silent { seconds: self.options.silence.as_secs() })?;
            let Some(chunk) = chunk.map_err(cause)? else { return Ok(Fetched::Whole) };
            let taken = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink.write_all(&chunk[..taken]).map_err(FetchCause::Write)?;
            left -= taken as u64;
            if taken < chunk.len() {
                return Ok(Fetched::Cut);
            }
            pace.came(chunk.len() as u64, asked.elapsed())?;
        }
    }

    /// Reads a short error page to its end, because only then is the connection free for the next request.
    async fn drain(&self, mut response: Response) {
        if response.content_length().is_none_or(|length| length > ERROR_PAGE) {
            return;
        }
        let page = async { while let Ok(Some(_)) = response.chunk().await {} };
        // whether it worked does not matter: the answer is known
        let _ = timeout(self.options.silence, page).await;
    }
}

impl Fetcher for HttpFetcher {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Write) -> Result<Fetched, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::new(url, FetchCause::UnsupportedUrl));
        }
        let total = self.options.total;
        let fetched =
            self.runtime.block_on(async { timeout(total, self.request(url, max_length, sink)).await });
        let fetched = fetched.unwrap_or(Err(FetchCause::TooLong { seconds: total.as_secs() }));
        fetched.map_err(|cause| FetchError::new(url, cause))
    }
}

/// The speed of a body, judged over one stretch of time after another.
///
/// Only the time spent waiting for the network counts: a slow disk of ours is no slow server.
struct Pace {
    minimum: u64,
    stretch: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(options: &HttpOptions) -> Self {
        Self { minimum: options.minimum_speed, stretch: options.stretch, waited: Duration::ZERO, bytes: 0 }
    }

    fn came(&mut self, bytes: u64, waited: Duration) -> Result<(), FetchCause> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited += waited;
        if self.waited < self.stretch {
            return Ok(());
        }
        let milliseconds = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes_per_second = self.bytes.saturating_mul(1000) / milliseconds;
        if bytes_per_second < self.minimum {
            return Err(FetchCause::Slow { bytes_per_second, minimum: self.minimum });
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

/// Follows a few redirects, within the scheme that was asked for or on to https.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last().map(Url::scheme).unwrap_or_default().to_owned();
    let to = attempt.url().scheme().to_owned();
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error(format!("more than {MOST_REDIRECTS} redirects"));
    }
    if to == "https" || to == from {
        return attempt.follow();
    }
    attempt.error(format!("from {from} to {to}"))
}

fn refusal(status: u16) -> FetchCause {
    // spec 5.3.3: object stores that may not be listed answer 403 for what is not there
    match status {
        403 | 404 | 410 => FetchCause::NotFound { status: Some(status) },
        status => FetchCause::Status { status },
    }
}

fn cause(error: reqwest::Error) -> FetchCause {
    let reason = deepest(&error);
    if error.is_redirect() { FetchCause::Redirect { reason } } else { FetchCause::Connection { reason } }
}

/// Returns the innermost cause, which is the one that says something.
fn deepest(error: &reqwest::Error) -> String {
    let mut reason =
        if error.is_timeout() { "the connection took too long".to_owned() } else { error.to_string() };
    let mut source = error.source();
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_below_the_minimum_speed_is_given_up() {
        let mut pace = Pace::new(&HttpOptions::default());
        for _ in 0..14 {
            pace.came(1, Duration::from_secs(1)).unwrap();
        }
        assert!(matches!(
            pace.came(1, Duration::from_secs(1)),
            Err(FetchCause::Slow { bytes_per_second: 1, minimum: 1024 })
        ));
    }

    #[test]
    fn a_burst_does_not_pay_for_a_later_drip() {
        let mut pace = Pace::new(&HttpOptions::default());
        pace.came(1 << 30, Duration::from_secs(15)).unwrap();
        pace.came(1, Duration::from_secs(10)).unwrap();
        assert!(pace.came(1, Duration::from_secs(10)).is_err());
    }
}
