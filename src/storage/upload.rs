//! Many files to a bucket at once, in bounded memory: small ones whole, large ones in pieces.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{MultipartUpload, PutMultipartOptions};

use super::bucket::{Bucket, Caching, Created, Replaced, attributes};
use super::cause::io_error;

/// How many pieces are on their way at the same time, and how large one is: together the memory that is used.
const AT_ONCE: usize = 8;
const PIECE: u64 = 8 << 20;
/// The most pieces that stores put together.
const MOST_PIECES: u64 = 10_000;

/// A file for a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its name there.
    pub name: String,
    /// How long it is, in bytes.
    pub length: u64,
    /// What caches may do with it. Where they may keep it, it is put only if there is none of its name.
    pub caching: Caching,
}

/// Opens the file of an upload to be read from its start. The reader checks what it reads: where it fails, nothing of the
/// file appears in the bucket.
pub type OpenUpload<'a> = dyn Fn(&Upload) -> io::Result<Box<dyn Read + Send>> + 'a;

/// Which file did not arrive, and why.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It could not be read or sent.
    #[error("{name}: {source}")]
    Io {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The bucket has another one of its name.
    #[error("{name} is there with other bytes")]
    Other {
        /// The file.
        name: String,
    },
}

impl Bucket {
    /// Puts files. `done` is told the bytes of each piece that has arrived.
    ///
    /// # Errors
    /// [`UploadError`] for the first file that did not arrive; others may have.
    pub fn upload(
        &self,
        files: &[Upload],
        open: &OpenUpload<'_>,
        done: &dyn Fn(u64),
    ) -> Result<(), UploadError> {
        let (small, large): (Vec<&Upload>, Vec<&Upload>) =
            files.iter().partition(|file| file.length <= PIECE);
        self.block_on(async {
            let mut sent = stream::iter(small.into_iter().map(|file| self.send_whole(file, open)))
                .buffer_unordered(AT_ONCE);
            while let Some(length) = sent.try_next().await? {
                done(length);
            }
            for file in large {
                let failed = |source| UploadError::Io { name: file.name.clone(), source };
                self.send_in_pieces(file, open, done).await.map_err(failed)?;
            }
            Ok(())
        })
    }

    async fn send_whole(&self, file: &Upload, open: &OpenUpload<'_>) -> Result<u64, UploadError> {
        let failed = |source| UploadError::Io { name: file.name.clone(), source };
        let mut bytes = Vec::new();
        open(file).and_then(|mut reader| reader.read_to_end(&mut bytes)).map_err(failed)?;
        let length = bytes.len() as u64;
        let bytes = Bytes::from(bytes);
        let other = match file.caching {
            Caching::Forever => {
                self.put_new(&file.name, bytes, file.caching).await.map_err(failed)? == Created::Other
            }
            Caching::Never => {
                self.put_over(&file.name, bytes, file.caching).await.map_err(failed)? == Replaced::Overtaken
            }
        };
        if other { Err(UploadError::Other { name: file.name.clone() }) } else { Ok(length) }
    }

    /// Stores put pieces together under no condition. That is no loss: the bytes have been checked, and the name of a file
    /// that may be kept says them.
    async fn send_in_pieces(
        &self,
        file: &Upload,
        open: &OpenUpload<'_>,
        done: &dyn Fn(u64),
    ) -> io::Result<()> {
        let mut reader = open(file)?;
        let key = self.key(&file.name)?;
        let options = PutMultipartOptions {
            attributes: attributes(&file.name, file.caching),
            ..PutMultipartOptions::default()
        };
        let mut upload = self.store().put_multipart_opts(&key, options).await.map_err(io_error)?;
        let piece = PIECE.max(file.length.div_ceil(MOST_PIECES));
        match send_pieces(upload.as_mut(), &mut reader, piece, done).await {
            Ok(()) => upload.complete().await.map(drop).map_err(io_error),
            Err(error) => {
                // what cannot be taken back is invisible, and the store's rules of age remove it
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }
}

async fn send_pieces(
    upload: &mut dyn MultipartUpload,
    reader: &mut dyn Read,
    piece: u64,
    done: &dyn Fn(u64),
) -> io::Result<()> {
    let mut on_their_way = stream::FuturesUnordered::new();
    loop {
        let mut bytes = Vec::new();
        reader.take(piece).read_to_end(&mut bytes)?;
        let length = bytes.len() as u64;
        if length == 0 {
            break;
        }
        let part = upload.put_part(Bytes::from(bytes).into());
        on_their_way.push(async move { part.await.map(|()| length) });
        if on_their_way.len() == AT_ONCE
            && let Some(length) = on_their_way.next().await
        {
            done(length.map_err(io_error)?);
        }
    }
    while let Some(length) = on_their_way.next().await {
        done(length.map_err(io_error)?);
    }
    Ok(())
}
