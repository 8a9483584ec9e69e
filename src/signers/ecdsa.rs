//! ECDSA signatures as agents and tokens make them, two numbers, turned into the ASN.1 DER that metadata holds.

/// Encodes `r` and `s`, one after the other and each as long as its curve's order; none where they are not.
pub(super) fn to_der(raw: &[u8]) -> Option<Vec<u8>> {
    match raw.len() {
        64 => Some(p256::ecdsa::Signature::from_slice(raw).ok()?.to_der().as_bytes().to_vec()),
        96 => Some(p384::ecdsa::Signature::from_slice(raw).ok()?.to_der().as_bytes().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_numbers_as_short_as_they_are() {
        let mut raw = [0; 64];
        (raw[31], raw[63]) = (1, 0x80);
        assert_eq!(to_der(&raw).unwrap(), [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
    }

    #[test]
    fn refuses_what_is_no_pair_of_numbers() {
        for raw in [&[][..], &[1; 63], &[0; 64], &[0xff; 64], &[0xff; 96], &[1; 132]] {
            assert_eq!(to_der(raw), None);
        }
    }
}
