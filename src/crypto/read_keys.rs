//! Public keys that were read lately. A delegation may have tens of thousands of hash bins with one key, and reading a key
//! costs as much as a good part of a verification.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::error::KeyError;
use super::fingerprint::Fingerprint;
use super::public_key::PublicKey;
use crate::metadata::Key;

/// How many keys are kept; more are forgotten all at once.
const KEPT: usize = 64;

/// The longest statement of a key that is kept, in bytes: there may be anything around a key in PEM.
const LONGEST: usize = 16 << 10;

/// A public key that was read, and who it is.
pub(super) struct ReadKey {
    pub(super) public: PublicKey,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// By the statement of the key itself, then by the type that it is said to be of.
type Kept = HashMap<String, Vec<(String, Rc<ReadKey>)>>;

thread_local! {
    static KEYS: RefCell<Kept> = RefCell::default();
}

/// Reads what metadata states of a key, or returns what was read of the same statement before.
pub(super) fn read(key: &Key) -> Result<Rc<ReadKey>, KeyError> {
    let read = || {
        let public = PublicKey::of(key)?;
        let fingerprint = Fingerprint::of(&public);
        Ok(Rc::new(ReadKey { public, fingerprint }))
    };
    let Some(stated) = key.public().filter(|stated| stated.len() <= LONGEST) else { return read() };
    KEYS.with_borrow_mut(|keys| {
        let types = keys.get(stated).into_iter().flatten();
        if let Some((_, known)) = types.into_iter().find(|(keytype, _)| *keytype == key.keytype) {
            return Ok(known.clone());
        }
        let known = read()?;
        if keys.values().map(Vec::len).sum::<usize>() >= KEPT {
            keys.clear();
        }
        keys.entry(stated.to_owned()).or_default().push((key.keytype.clone(), known.clone()));
        Ok(known)
    })
}
