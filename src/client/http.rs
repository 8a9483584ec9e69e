//! `http:` and `https:` URLs, over a network that may mean harm: every wait ends, every stream has a minimum speed.

use std::error::Error as _;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use url::Url;

use super::fetcher::{FetchCause, FetchError, Fetched, Fetcher, Sink, Window};
use crate::tls::{self, Authorities};

/// How many redirects one request follows.
const MOST_REDIRECTS: usize = 5;
/// How long a body may drip before it breaks and still be asked for again.
const GRACE: Duration = Duration::from_secs(3);
/// The largest body of an error page that is read so that its connection can be used again.
const ERROR_PAGE: u64 = 16 * 1024;

/// The patience of a [`HttpFetcher`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// What the client calls itself.
    pub user_agent: String,
    /// Who vouches for servers of `https:`.
    pub authorities: Authorities,
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
            authorities: Authorities::default(),
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
    /// Makes a fetcher. Proxies come from the environment.
    ///
    /// # Errors
    /// A sentence for people where the system gives no sockets or the options make no client.
    pub fn new(options: HttpOptions) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the network is out of reach: {error}"))?;
        let tls = tls::config(options.authorities.clone())
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
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

    async fn request(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchCause> {
        let start = sink.begin().map_err(FetchCause::Write)?;
        let mut request = self.client.get(url.clone());
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let no_answer = || FetchCause::NoAnswer { seconds: self.options.silence.as_secs() };
        let sent = timeout(self.options.silence, request.send());
        let response = sent.await.map_err(|_| no_answer())?.map_err(|error| self.cause(error))?;
        match response.status() {
            // a server that knows no ranges sends the whole: what the sink has passes by
            StatusCode::OK => self.body(response, Window::new(0, start, max_length), sink).await,
            StatusCode::PARTIAL_CONTENT if start > 0 => {
                if first_byte(&response) != Some(start) {
                    return Err(FetchCause::OtherRange);
                }
                self.body(response, Window::new(start, start, max_length), sink).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => Err(FetchCause::OtherRange),
            status => {
                self.drain(response).await;
                Err(refusal(status.as_u16()))
            }
        }
    }

    async fn body(
        &self,
        mut response: Response,
        mut window: Window,
        sink: &mut dyn Sink,
    ) -> Result<Fetched, FetchCause> {
        let mut pace = Pace::new(&self.options);
        loop {
            let asked = Instant::now();
            let chunk = timeout(self.options.silence, response.chunk()).await;
            let chunk = chunk.map_err(|_| FetchCause::Silent { seconds: self.options.silence.as_secs() })?;
            let waited = asked.elapsed();
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    pace.broke(waited)?;
                    return Err(self.cause(error));
                }
            };
            let Some(chunk) = chunk else { return Ok(Fetched::Whole) };
            if let Some(cut) = window.pass(&chunk, sink).map_err(FetchCause::Write)? {
                return Ok(cut);
            }
            pace.came(chunk.len() as u64, waited)?;
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

    fn cause(&self, error: reqwest::Error) -> FetchCause {
        if error.is_connect() && error.is_timeout() {
            return FetchCause::NoConnection { seconds: self.options.connect.as_secs() };
        }
        let reason = deepest(&error);
        if error.is_redirect() { FetchCause::Redirect { reason } } else { FetchCause::Connection { reason } }
    }
}

impl Fetcher for HttpFetcher {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
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
        self.judge()?;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }

    /// Judges a stretch that ended early: a server that drips, breaks, and is asked again uses nobody's patience up
    /// several times.
    fn broke(&mut self, waited: Duration) -> Result<(), FetchCause> {
        self.waited += waited;
        if self.waited < GRACE { Ok(()) } else { self.judge() }
    }

    fn judge(&self) -> Result<(), FetchCause> {
        let milliseconds = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes_per_second = self.bytes.saturating_mul(1000) / milliseconds;
        if bytes_per_second < self.minimum {
            return Err(FetchCause::Slow { bytes_per_second, minimum: self.minimum });
        }
        Ok(())
    }
}

/// Follows a few redirects, within the scheme that was asked for or on to https.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    match check_redirect(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(reason) => attempt.error(reason),
    }
}

/// Judges a redirect after those that led to it, the URL that was asked for first.
fn check_redirect(previous: &[Url], to: &Url) -> Result<(), String> {
    if previous.len() > MOST_REDIRECTS {
        return Err(format!("more than {MOST_REDIRECTS} redirects"));
    }
    // once on https it stays there
    let (from, to) = (previous.last().map(Url::scheme).unwrap_or_default(), to.scheme());
    if may_lead(from, to) { Ok(()) } else { Err(format!("from {from} to {to}")) }
}

/// Tells whether a redirect may lead from one scheme to another.
fn may_lead(from: &str, to: &str) -> bool {
    to == "https" || to == from
}

fn refusal(status: u16) -> FetchCause {
    // spec 5.3.3: object stores that may not be listed answer 403 for what is not there
    match status {
        403 | 404 | 410 => FetchCause::NotFound { status: Some(status) },
        status => FetchCause::Status { status },
    }
}

/// Returns where a partial answer begins: `bytes FIRST-LAST/LENGTH`.
fn first_byte(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Returns the innermost cause, which is the one that says something.
fn deepest(error: &reqwest::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::super::Retries;
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
    fn the_usual_patience_with_a_bad_server_ends_within_a_minute() {
        let options = HttpOptions::default();
        // the connection, redirects and headers together have one silence
        assert!(options.connect <= options.silence);
        // a body that drips is judged by the first byte after a stretch, which comes within a silence or never
        let longest = options.silence + options.stretch + options.silence;
        assert_eq!(longest, Duration::from_secs(45));
        // one that breaks before it is judged is asked again
        let retries = Retries::default();
        let most = (options.silence + GRACE) * (retries.most + 1) + retries.pause * 3;
        assert!(most < Duration::from_secs(60), "{most:?}");
    }

    #[test]
    fn a_body_that_drips_and_breaks_is_slow_and_not_asked_for_again() {
        let mut pace = Pace::new(&HttpOptions::default());
        pace.came(10, Duration::from_secs(2)).unwrap();
        assert!(matches!(
            pace.broke(Duration::from_secs(2)),
            Err(FetchCause::Slow { bytes_per_second: 2, minimum: 1024 })
        ));
        let mut early = Pace::new(&HttpOptions::default());
        early.came(10, Duration::from_secs(2)).unwrap();
        early.broke(Duration::from_millis(500)).unwrap();
        let mut quick = Pace::new(&HttpOptions::default());
        quick.came(1 << 20, Duration::from_secs(10)).unwrap();
        quick.broke(Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn redirects_never_leave_https_or_http_for_anything_less() {
        for (from, to) in [("http", "http"), ("http", "https"), ("https", "https")] {
            assert!(may_lead(from, to), "{from} {to}");
        }
        for (from, to) in [("https", "http"), ("http", "file"), ("https", "file"), ("http", "ftp")] {
            assert!(!may_lead(from, to), "{from} {to}");
        }
    }

    #[test]
    fn a_chain_of_redirects_never_goes_back_from_https() {
        let urls = |schemes: &[&str]| -> Vec<Url> {
            schemes.iter().map(|scheme| Url::parse(&format!("{scheme}://host.test/")).unwrap()).collect()
        };
        for (chain, is_followed) in [
            (&["http", "http"][..], true),
            (&["http", "https", "https"], true),
            (&["https", "http"], false),
            (&["http", "https", "http"], false),
            (&["http", "http", "https", "http"], false),
        ] {
            let urls = urls(chain);
            let (to, previous) = urls.split_last().unwrap();
            assert_eq!(check_redirect(previous, to).is_ok(), is_followed, "{chain:?}");
        }
    }

    #[test]
    fn as_many_redirects_are_followed_as_may_be_and_no_more() {
        let url = Url::parse("http://host.test/").unwrap();
        // the first of them is what was asked for
        assert_eq!(check_redirect(&vec![url.clone(); 5], &url), Ok(()));
        assert_eq!(check_redirect(&vec![url.clone(); 6], &url), Err("more than 5 redirects".to_owned()));
    }

    #[test]
    fn a_burst_does_not_pay_for_a_later_drip() {
        let mut pace = Pace::new(&HttpOptions::default());
        pace.came(1 << 30, Duration::from_secs(15)).unwrap();
        pace.came(1, Duration::from_secs(10)).unwrap();
        assert!(pace.came(1, Duration::from_secs(10)).is_err());
    }
}
