//! Many files to a bucket at once, in bounded memory: small ones whole, large ones in pieces.

use std::io::{self, Read};

use bytes::Bytes;
use object_store::{MultipartUpload, PutMultipartOptions};
use tokio::task::JoinSet;

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
        let mut on_their_way = JoinSet::new();
        for file in small {
            if on_their_way.len() == AT_ONCE {
                self.arrived(&mut on_their_way, done)?;
            }
            // read here and not among the requests: what is read may be in a bucket itself
            let mut bytes = Vec::new();
            let read = open(file).and_then(|mut reader| reader.read_to_end(&mut bytes));
            read.map_err(|source| UploadError::Io { name: file.name.clone(), source })?;
            let (bucket, file) = (self.clone(), file.clone());
            on_their_way.spawn_on(async move { bucket.send(file, bytes.into()).await }, self.handle());
        }
        while !on_their_way.is_empty() {
            self.arrived(&mut on_their_way, done)?;
        }
        for file in large {
            let failed = |source| UploadError::Io { name: file.name.clone(), source };
            self.send_in_pieces(file, open, done).map_err(failed)?;
        }
        Ok(())
    }

    /// Waits for one of the files that are on their way.
    fn arrived(
        &self,
        files: &mut JoinSet<Result<u64, UploadError>>,
        done: &dyn Fn(u64),
    ) -> Result<(), UploadError> {
        match self.block_on(files.join_next()) {
            Some(Ok(length)) => done(length?),
            // it is neither cancelled nor does it panic
            Some(Err(error)) => {
                return Err(UploadError::Io { name: String::new(), source: io::Error::other(error) });
            }
            None => {}
        }
        Ok(())
    }

    async fn send(&self, file: Upload, bytes: Bytes) -> Result<u64, UploadError> {
        let length = bytes.len() as u64;
        let other = match file.caching {
            Caching::Forever => {
                self.put_new(&file.name, bytes, file.caching).await.map(|put| put == Created::Other)
            }
            Caching::Never => {
                self.put_over(&file.name, bytes, file.caching).await.map(|put| put == Replaced::Overtaken)
            }
        };
        match other {
            Ok(false) => Ok(length),
            Ok(true) => Err(UploadError::Other { name: file.name }),
            Err(source) => Err(UploadError::Io { name: file.name, source }),
        }
    }

    /// Stores put pieces together under no condition. That is no loss: the bytes have been checked, and the name of a file
    /// that may be kept says them.
    fn send_in_pieces(&self, file: &Upload, open: &OpenUpload<'_>, done: &dyn Fn(u64)) -> io::Result<()> {
        let mut reader = open(file)?;
        let key = self.key(&file.name)?;
        let options = PutMultipartOptions {
            attributes: attributes(&file.name, file.caching),
            ..PutMultipartOptions::default()
        };
        let begun = self.block_on(self.store().put_multipart_opts(&key, options));
        let mut upload = begun.map_err(io_error)?;
        let piece = PIECE.max(file.length.div_ceil(MOST_PIECES));
        match self.send_pieces(upload.as_mut(), &mut reader, piece, done) {
            Ok(()) => self.block_on(upload.complete()).map(drop).map_err(io_error),
            Err(error) => {
                // what cannot be taken back is invisible, and the store's rules of age remove it
                let _ = self.block_on(upload.abort());
                Err(error)
            }
        }
    }

    fn send_pieces(
        &self,
        upload: &mut dyn MultipartUpload,
        reader: &mut dyn Read,
        piece: u64,
        done: &dyn Fn(u64),
    ) -> io::Result<()> {
        let mut on_their_way = JoinSet::new();
        let mut read_all = false;
        while !read_all || !on_their_way.is_empty() {
            if on_their_way.len() == AT_ONCE || read_all {
                match self.block_on(on_their_way.join_next()) {
                    Some(Ok(length)) => done(length?),
                    Some(Err(error)) => return Err(io::Error::other(error)),
                    None => {}
                }
                continue;
            }
            let mut bytes = Vec::new();
            reader.take(piece).read_to_end(&mut bytes)?;
            let length = bytes.len() as u64;
            read_all = length == 0;
            if !read_all {
                let part = upload.put_part(Bytes::from(bytes).into());
                let send = async move { part.await.map(|()| length).map_err(io_error) };
                on_their_way.spawn_on(send, self.handle());
            }
        }
        Ok(())
    }
}
