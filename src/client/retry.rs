//! Asking again where that may help: after a connection that failed or broke, and after a 5xx. Never after a 404, and
//! never of a server that is slow.

use std::time::Duration;

use url::Url;

use super::fetcher::{FetchError, Fetched, Fetcher, Sink};

/// How often and how soon a request is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// How many times at most, after the first.
    pub most: u32,
    /// How long to wait before the first repetition; before each further one twice as long.
    pub pause: Duration,
}

impl Default for Retries {
    /// Twice, after a quarter and a half of a second.
    fn default() -> Self {
        Self { most: 2, pause: Duration::from_millis(250) }
    }
}

/// A fetcher that makes requests again. A sink that has a part of the body by then is sent the rest.
pub struct Retrying<F> {
    fetcher: F,
    retries: Retries,
    wait: fn(Duration),
}

impl<F> Retrying<F> {
    /// Puts a fetcher under a policy; `wait` passes the time, as [`std::thread::sleep`] does.
    pub fn new(fetcher: F, retries: Retries, wait: fn(Duration)) -> Self {
        Self { fetcher, retries, wait }
    }
}

impl<F: Fetcher> Fetcher for Retrying<F> {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
        let mut pause = self.retries.pause;
        for _ in 0..self.retries.most {
            match self.fetcher.fetch(url, max_length, sink) {
                Err(error) if error.is_transient() => (self.wait)(pause),
                fetched => return fetched,
            }
            pause = pause.saturating_mul(2);
        }
        self.fetcher.fetch(url, max_length, sink)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::FetchCause;
    use super::*;

    /// Sends two more bytes of a body with each request, then fails.
    struct Failing {
        body: &'static [u8],
        fails_with: fn() -> FetchCause,
        starts: Mutex<Vec<u64>>,
    }

    impl Fetcher for Failing {
        fn fetch(&self, url: &Url, _: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
            let start = sink.begin().unwrap();
            self.starts.lock().unwrap().push(start);
            let start = usize::try_from(start).unwrap();
            let end = self.body.len().min(start + 2);
            sink.take(&self.body[start..end]).unwrap();
            if end == self.body.len() {
                return Ok(Fetched::Whole);
            }
            Err(FetchError { url: url.clone(), cause: (self.fails_with)() })
        }
    }

    /// Keeps what it has from request to request.
    #[derive(Default)]
    struct Keeper(Vec<u8>);

    impl Sink for Keeper {
        fn begin(&mut self) -> std::io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    static WAITED: AtomicU64 = AtomicU64::new(0);

    fn count(pause: Duration) {
        WAITED.fetch_add(u64::try_from(pause.as_millis()).unwrap(), Ordering::Relaxed);
    }

    fn fetch(
        fails_with: fn() -> FetchCause,
        sink: &mut dyn Sink,
        wait: fn(Duration),
    ) -> (Result<Fetched, FetchError>, Vec<u64>) {
        let failing = Failing { body: b"012345", fails_with, starts: Mutex::default() };
        let retrying = Retrying::new(failing, Retries::default(), wait);
        let fetched = retrying.fetch(&Url::parse("http://test/").unwrap(), 6, sink);
        (fetched, retrying.fetcher.starts.into_inner().unwrap())
    }

    #[test]
    fn a_broken_connection_is_taken_up_where_it_broke_with_growing_pauses() {
        let mut sink = Keeper::default();
        let (fetched, starts) = fetch(|| FetchCause::Connection { reason: "reset".into() }, &mut sink, count);
        assert_eq!(
            (fetched.unwrap(), starts, sink.0.as_slice()),
            (Fetched::Whole, vec![0, 2, 4], &b"012345"[..])
        );
        assert_eq!(WAITED.load(Ordering::Relaxed), 750);
    }

    #[test]
    fn metadata_is_asked_for_from_its_start_a_bounded_number_of_times() {
        let mut sink = Vec::new();
        let (fetched, starts) = fetch(|| FetchCause::Status { status: 503 }, &mut sink, |_| ());
        assert!(matches!(fetched.unwrap_err().cause, FetchCause::Status { status: 503 }));
        assert_eq!(starts, [0, 0, 0]);
    }

    #[test]
    fn what_will_not_change_is_asked_for_once() {
        let causes: [fn() -> FetchCause; 5] = [
            || FetchCause::NotFound { status: Some(404) },
            || FetchCause::Status { status: 400 },
            || FetchCause::Slow { bytes_per_second: 1, minimum: 2 },
            || FetchCause::Silent { seconds: 1 },
            || FetchCause::NoConnection { seconds: 1 },
        ];
        for cause in causes {
            assert_eq!(fetch(cause, &mut Vec::new(), |_| ()).1, [0]);
        }
    }
}
