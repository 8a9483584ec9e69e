//! Digests a target while it comes: a large one in a thread of its own, so that the network and the disk need not wait.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::metadata::{Hasher, Hashes, TargetFile};

/// From this length in bytes on a thread is worth its while.
const LARGE: u64 = 4 << 20;
/// How many bytes are handed over at once, and how many such blocks there are.
const BLOCK: usize = 256 << 10;
const BLOCKS: usize = 4;

/// The digests of one target, as metadata lists them.
pub(super) enum Digesting {
    /// By who brings the bytes.
    Here(Hasher),
    /// By a thread.
    Beside(Beside),
}

/// A thread that digests blocks and gives them back empty.
pub(super) struct Beside {
    filling: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    hasher: JoinHandle<Hasher>,
}

impl Digesting {
    /// Starts with what metadata says of a target.
    pub fn of(info: &TargetFile) -> Self {
        let hasher = Hasher::new(info.hashes.known());
        if info.length < LARGE || thread::available_parallelism().map_or(1, usize::from) < 2 {
            return Self::Here(hasher);
        }
        // where the system has no more threads, the bytes are digested here
        Beside::start(hasher).map_or_else(|_| Self::Here(Hasher::new(info.hashes.known())), Self::Beside)
    }

    /// Digests nothing.
    pub fn none() -> Self {
        Self::Here(Hasher::new([]))
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Here(hasher) => hasher.update(bytes),
            Self::Beside(beside) => beside.update(bytes),
        }
    }

    /// Returns how many bytes went in, and their digests.
    pub fn finish(self) -> (u64, Hashes) {
        match self {
            Self::Here(hasher) => hasher.finish(),
            Self::Beside(beside) => beside.finish(),
        }
    }
}

impl Beside {
    fn start(mut hasher: Hasher) -> io::Result<Self> {
        let (full, blocks) = sync_channel::<Vec<u8>>(BLOCKS);
        let (give_back, empty) = sync_channel(BLOCKS);
        let hasher = thread::Builder::new().spawn(move || {
            for mut block in blocks {
                hasher.update(&block);
                block.clear();
                // nobody waits for the last ones
                let _ = give_back.try_send(block);
            }
            hasher
        })?;
        Ok(Self { filling: Vec::with_capacity(BLOCK), full, empty, hasher })
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == BLOCK {
                let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
                // a thread that is gone shows in the length that it has seen
                let _ = self.full.send(std::mem::replace(&mut self.filling, next));
            }
        }
    }

    fn finish(self) -> (u64, Hashes) {
        let Self { filling, full, empty: _, hasher } = self;
        let _ = full.send(filling);
        drop(full);
        // a thread that panicked has digested nothing: such a target is refused
        hasher.join().unwrap_or_else(|_| Hasher::new([])).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Algorithm, Extra};

    #[test]
    fn a_thread_digests_as_one_would_without() {
        let bytes: Vec<u8> = (0..BLOCK * 9 + 5).map(|index| (index / 3 % 251) as u8).collect();
        let hashes = Hasher::digest(Algorithm::ALL, &bytes);
        for step in [7 * BLOCK + 1, BLOCK, 100_003] {
            let hasher = Hasher::new(Algorithm::ALL);
            let mut beside = Beside::start(hasher).unwrap();
            bytes.chunks(step).for_each(|chunk| beside.update(chunk));
            assert_eq!(beside.finish(), (bytes.len() as u64, hashes.clone()), "{step}");
        }
    }

    #[test]
    fn small_targets_have_no_thread() {
        let info =
            |length| TargetFile { length, hashes: Hashes::default(), custom: None, extra: Extra::new() };
        assert!(matches!(Digesting::of(&info(LARGE - 1)), Digesting::Here(_)));
    }
}
