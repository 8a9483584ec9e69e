//! Keys whose signatures are counted for whoever watches: thousands of hash bins take an RSA key a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tuf::cli::keys::LoadedKey;
use tuf::cli::output::Verbosity;
use tuf::cli::progress::Progress;
use tuf::crypto::{Occasion, SignError, Signer};
use tuf::metadata::Key;

/// From this many signatures on they are shown; before that nobody waits.
const MANY: u64 = 32;

/// Has all signatures of some keys counted together. The number is shown until the keys are dropped.
pub fn counted(keys: Vec<LoadedKey>, verbosity: Verbosity) -> Vec<LoadedKey> {
    let count = Arc::new(Count { verbosity, made: AtomicU64::new(0), shown: OnceLock::new() });
    keys.into_iter()
        .map(|LoadedKey { name, signer }| LoadedKey {
            name,
            signer: Box::new(Counted { signer, count: Arc::clone(&count) }),
        })
        .collect()
}

struct Count {
    verbosity: Verbosity,
    made: AtomicU64,
    shown: OnceLock<Progress>,
}

impl Count {
    fn advance(&self) {
        let made = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        if made >= MANY {
            let shown = self.shown.get_or_init(|| Progress::tally(self.verbosity, "Signing"));
            shown.advance(if made == MANY { MANY } else { 1 });
        }
    }
}

struct Counted {
    signer: Box<dyn Signer>,
    count: Arc<Count>,
}

impl Signer for Counted {
    fn public_key(&self) -> &Key {
        self.signer.public_key()
    }

    fn is_concurrent(&self) -> bool {
        self.signer.is_concurrent()
    }

    fn sign(&self, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signer.sign(scheme, message).inspect(|_| self.count.advance())
    }

    fn sign_for(&self, occasion: Occasion<'_>, scheme: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signer.sign_for(occasion, scheme, message).inspect(|_| self.count.advance())
    }
}
