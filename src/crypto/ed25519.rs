//! Ed25519 with SHA-512 by `ring`, which takes three quarters of the time that `sha2` takes for a message of megabytes; the
//! arithmetic is `ed25519-dalek`'s. What is hashed with a secret still goes through `sha2`, which erases what it kept.

use std::cell::Cell;

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate, raw_verify};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use ring::digest::{Context, SHA512};
use sha2::Digest;
use sha2::digest::typenum::U64;
use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update};
use signature::Error;
use zeroize::Zeroizing;

/// Signs bytes, as `key.try_sign` does.
///
/// # Errors
/// None in practice.
pub(super) fn sign(key: &SigningKey, message: &[u8]) -> Result<Signature, Error> {
    let expanded = ExpandedSecretKey::from(key.as_bytes());
    // the message is hashed twice: first behind a secret, then behind the public key
    let secret = Cell::new(true);
    let hash = |hash: &mut Hash| {
        hash.start(if secret.replace(false) { Engine::erasing() } else { Engine::fast() });
        Update::update(hash, message);
        Ok(())
    };
    raw_sign_byupdate::<Hash, _>(&expanded, hash, &key.verifying_key())
}

/// Tells whether a signature is valid, as strictly as `key.verify_strict` does: keys and signatures of small order are refused.
pub(super) fn is_valid(key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
    is_strict(key, signature) && raw_verify::<Hash>(key, message, signature).is_ok()
}

/// Tells whether neither the key nor the point of a signature is of small order.
fn is_strict(key: &VerifyingKey, signature: &Signature) -> bool {
    // a point of a signature is read as that of a key is
    let point = VerifyingKey::from_bytes(signature.r_bytes());
    !key.is_weak() && point.is_ok_and(|point| !point.is_weak())
}

/// A SHA-512 that keeps its first bytes until it is known who computes it; without a word `ring` does once they are more
/// than a point and a key.
#[derive(Default)]
struct Hash {
    head: Zeroizing<Vec<u8>>,
    engine: Option<Engine>,
}

/// How many bytes stand before a message: a point and a key.
const HEAD: usize = 64;

/// Who computes a SHA-512.
enum Engine {
    Erasing(Box<sha2::Sha512>),
    Fast(Box<Context>),
}

impl Engine {
    fn erasing() -> Self {
        Self::Erasing(Box::default())
    }

    fn fast() -> Self {
        Self::Fast(Box::new(Context::new(&SHA512)))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Erasing(hash) => Digest::update(&mut **hash, bytes),
            Self::Fast(hash) => hash.update(bytes),
        }
    }
}

impl Hash {
    fn start(&mut self, mut engine: Engine) {
        engine.update(&self.head);
        self.engine = Some(engine);
    }
}

impl Update for Hash {
    fn update(&mut self, bytes: &[u8]) {
        if self.engine.is_none() && self.head.len() + bytes.len() <= HEAD {
            // the final size at once: a buffer that grows leaves copies behind
            self.head.reserve_exact(HEAD);
            self.head.extend_from_slice(bytes);
            return;
        }
        if self.engine.is_none() {
            self.start(Engine::fast());
        }
        if let Some(engine) = &mut self.engine {
            engine.update(bytes);
        }
    }
}

impl OutputSizeUser for Hash {
    type OutputSize = U64;
}

impl FixedOutput for Hash {
    fn finalize_into(mut self, out: &mut Output<Self>) {
        if self.engine.is_none() {
            self.start(Engine::erasing());
        }
        match self.engine {
            Some(Engine::Erasing(hash)) => *out = hash.finalize(),
            Some(Engine::Fast(hash)) => out.copy_from_slice(hash.finish().as_ref()),
            None => {}
        }
    }
}

impl HashMarker for Hash {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signature::{Signer, Verifier};

    use super::*;

    /// The encodings of the eight points of small order, and of the two that are not canonical.
    const SMALL_ORDER: [&str; 10] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];

    fn points() -> Vec<[u8; 32]> {
        SMALL_ORDER.iter().map(|point| hex::decode(point).unwrap().try_into().unwrap()).collect()
    }

    #[test]
    fn keys_and_signatures_of_small_order_are_refused_as_the_strict_rule_does() {
        let honest = SigningKey::from_bytes(&[7; 32]);
        let made = honest.sign(b"message");
        let mut lax = 0;
        for point in points() {
            // with such a key and s = 0 a signature is valid for many messages
            if let Ok(key) = VerifyingKey::from_bytes(&point) {
                for r in points() {
                    let signature = Signature::from_components(r, [0; 32]);
                    for message in [&b"a"[..], b"b", b"c", b"d", b"e", b"f", b"g", b"h"] {
                        lax += usize::from(key.verify(message, &signature).is_ok());
                        assert!(key.verify_strict(message, &signature).is_err());
                        assert!(!is_valid(&key, message, &signature));
                    }
                }
            }
            let signature = Signature::from_components(point, *made.s_bytes());
            assert!(honest.verifying_key().verify_strict(b"message", &signature).is_err());
            assert!(!is_valid(&honest.verifying_key(), b"message", &signature));
        }
        assert!(lax > 0, "the points are what they are said to be");
    }

    /// With a weak key anybody can make a point that is not weak, and for a weak point whoever has an honest key a signature.
    #[test]
    fn a_weak_key_and_a_weak_point_are_each_refused_by_themselves() {
        let honest = SigningKey::from_bytes(&[7; 32]);
        let made = honest.sign(b"message");
        assert!(is_strict(&honest.verifying_key(), &made));
        let mut keys = 0;
        for point in points() {
            if let Ok(weak) = VerifyingKey::from_bytes(&point) {
                keys += 1;
                assert!(!is_strict(&weak, &made));
            }
            assert!(!is_strict(&honest.verifying_key(), &Signature::from_components(point, *made.s_bytes())));
        }
        assert!(keys >= 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn signs_and_verifies_as_dalek_does(
            seed in any::<[u8; 32]>(),
            message in prop::collection::vec(any::<u8>(), 0..400),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let key = SigningKey::from_bytes(&seed);
            let made = sign(&key, &message).unwrap();
            prop_assert_eq!(made, key.sign(&message));
            let public = key.verifying_key();
            prop_assert!(is_valid(&public, &message, &made));
            let mut changed = made.to_bytes();
            changed[at.index(64)] ^= 1 << bit;
            let changed = Signature::from_bytes(&changed);
            prop_assert!(!is_valid(&public, &message, &changed));
            prop_assert!(public.verify_strict(&message, &changed).is_err());
        }

        #[test]
        fn hashes_as_sha2_does_however_the_bytes_come(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..6),
            start in prop::option::of((0..6_usize, any::<bool>())),
        ) {
            let (mut hash, mut other) = (Hash::default(), sha2::Sha512::new());
            for (index, part) in parts.iter().enumerate() {
                if let Some((at, erasing)) = start && at == index && hash.engine.is_none() {
                    hash.start(if erasing { Engine::erasing() } else { Engine::fast() });
                }
                Update::update(&mut hash, part);
                Digest::update(&mut other, part);
            }
            prop_assert_eq!(hash.finalize_fixed(), other.finalize());
        }
    }
}
