//! `file:` URLs: repositories in a folder of this machine, read without a server.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use url::Url;

use super::fetcher::{FetchCause, FetchError, Fetched, Fetcher, Sink, Window};

/// Reads `file:` URLs that name a regular file of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileFetcher;

impl Fetcher for FileFetcher {
    fn fetch(&self, url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchError> {
        read(url, max_length, sink).map_err(|cause| FetchError::new(url, cause))
    }
}

fn read(url: &Url, max_length: u64, sink: &mut dyn Sink) -> Result<Fetched, FetchCause> {
    if url.scheme() != "file" {
        return Err(FetchCause::UnsupportedUrl);
    }
    // refuses other machines; `localhost` has been dropped by the parser
    let path = url.to_file_path().map_err(|()| FetchCause::UnsupportedUrl)?;
    let metadata = std::fs::metadata(&path).map_err(absent)?;
    // a named pipe would be waited for without end
    if !metadata.is_file() {
        return Err(FetchCause::Read(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        )));
    }
    let mut file = File::open(&path).map_err(absent)?;
    let start = sink.begin().map_err(FetchCause::Write)?;
    file.seek(SeekFrom::Start(start)).map_err(FetchCause::Read)?;
    let mut window = Window::new(start, start, max_length);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(Fetched::Whole),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FetchCause::Read(error)),
        };
        if let Some(cut) = window.pass(&buffer[..count], sink).map_err(FetchCause::Write)? {
            return Ok(cut);
        }
    }
}

fn absent(error: io::Error) -> FetchCause {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FetchCause::NotFound { status: None },
        _ => FetchCause::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(url: &str, max: u64) -> (Result<Fetched, FetchError>, Vec<u8>) {
        let mut body = Vec::new();
        let result = FileFetcher.fetch(&Url::parse(url).unwrap(), max, &mut body);
        (result, body)
    }

    #[test]
    fn reads_a_file_up_to_the_maximum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b%2F.json");
        std::fs::write(&path, b"0123456789").unwrap();
        let url = Url::from_file_path(&path).unwrap();
        assert!(matches!(fetch(url.as_str(), 10), (Ok(Fetched::Whole), body) if body == b"0123456789"));
        assert!(matches!(fetch(url.as_str(), 9), (Ok(Fetched::Cut), body) if body == b"012345678"));
        assert!(matches!(fetch(url.as_str(), 0), (Ok(Fetched::Cut), body) if body.is_empty()));
    }

    #[test]
    fn refuses_what_is_no_regular_file_of_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let absent = Url::from_file_path(folder.path().join("absent")).unwrap();
        assert!(fetch(absent.as_str(), 10).0.unwrap_err().is_not_found());
        let itself = Url::from_file_path(folder.path()).unwrap();
        assert!(matches!(fetch(itself.as_str(), 10).0.unwrap_err().cause, FetchCause::Read(_)));
        assert!(matches!(fetch("file://elsewhere/x", 10).0.unwrap_err().cause, FetchCause::UnsupportedUrl));
        assert!(matches!(fetch("http://localhost/x", 10).0.unwrap_err().cause, FetchCause::UnsupportedUrl));
    }
}
