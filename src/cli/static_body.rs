//! A part of a file as the body of an answer, read in pieces as the client takes them.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

/// How many bytes are read at once.
const PIECE: usize = 64 * 1024;

/// Bytes of a file that is read on the way, or a short text.
pub(super) struct FileBody {
    source: Source,
    left: u64,
}

enum Source {
    File { file: tokio::fs::File, buffer: Vec<u8> },
    Text(&'static str),
}

impl FileBody {
    /// No bytes.
    pub(super) fn empty() -> Self {
        Self::text("")
    }

    /// A text.
    pub(super) fn text(text: &'static str) -> Self {
        Self { source: Source::Text(text), left: text.len() as u64 }
    }

    /// A part of a file.
    pub(super) fn part(mut file: File, start: u64, count: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE);
        Ok(Self { source: Source::File { file, buffer: vec![0; PIECE] }, left: count })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        if body.left == 0 {
            return Poll::Ready(None);
        }
        let (file, buffer) = match &mut body.source {
            Source::Text(text) => {
                body.left = 0;
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))));
            }
            Source::File { file, buffer } => (file, buffer),
        };
        let wanted = usize::try_from(body.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = ReadBuf::new(&mut buffer[..wanted]);
        match Pin::new(file).poll_read(context, &mut piece) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            // shorter than it was: the connection breaks, so that nobody takes the part for the whole
            Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
            }
            Poll::Ready(Ok(())) => {
                let bytes = Bytes::copy_from_slice(piece.filled());
                body.left -= bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
