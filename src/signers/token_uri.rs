//! PKCS#11 URIs (RFC 7512): which key, on which token, behind which module.

use std::path::PathBuf;

/// What a PKCS#11 URI names. What it does not say matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenUri {
    pub(super) token: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) slot_id: Option<u64>,
    /// The label of the key.
    pub(super) object: Option<Vec<u8>>,
    /// The id of the key.
    pub(super) id: Option<Vec<u8>>,
    /// The module's library; none where the URI does not say.
    pub(super) module: Option<PathBuf>,
}

impl TokenUri {
    /// Reads `pkcs11:token=…;object=…?module-path=…`.
    ///
    /// The attributes `token`, `manufacturer`, `model`, `serial`, `slot-id`, `object`, `id` and `type` are understood
    /// and `module-path` of the query. A PIN in the URI is refused: it would be seen by everybody on the machine.
    ///
    /// # Errors
    /// What is wrong with the URI; never quotes the value of an attribute.
    pub fn parse(uri: &str) -> Result<Self, String> {
        let rest = uri.strip_prefix("pkcs11:").ok_or("it does not start with pkcs11:")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parsed = Self::default();
        let mut seen = Vec::new();
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or("an attribute of it has no value")?;
            if seen.contains(&name) {
                return Err(format!("its attribute {name} stands twice"));
            }
            seen.push(name);
            parsed.set(name, value)?;
        }
        if parsed == (Self { module: parsed.module.clone(), ..Self::default() }) {
            return Err("it names no token and no key".to_owned());
        }
        Ok(parsed)
    }

    /// Returns the URI with this module where it names none.
    pub fn with_default_module(self, module: Option<PathBuf>) -> Self {
        Self { module: self.module.or(module), ..self }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bytes = percent_decoded(value).ok_or_else(|| format!("its attribute {name} has a broken %"))?;
        let text =
            || String::from_utf8(bytes.clone()).map_err(|_| format!("its attribute {name} is not UTF-8"));
        match name {
            "token" => self.token = Some(text()?),
            "manufacturer" => self.manufacturer = Some(text()?),
            "model" => self.model = Some(text()?),
            "serial" => self.serial = Some(text()?),
            "slot-id" => {
                self.slot_id = Some(text()?.parse().map_err(|_| "its slot-id is not a number".to_owned())?);
            }
            "object" => self.object = Some(bytes),
            "id" => self.id = Some(bytes),
            "module-path" => self.module = Some(text()?.into()),
            "type" if matches!(value, "private" | "public") => {}
            "type" => return Err("its type is not that of a key".to_owned()),
            "pin-value" | "pin-source" => {
                return Err(format!("it must not hold a PIN ({name}): give it as a password"));
            }
            other => return Err(format!("its attribute {other} is not supported")),
        }
        Ok(())
    }
}

/// Takes the percent encoding off.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(*hex::decode(digits).ok()?.first()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_rfc_7512_writes() {
        let uri = "pkcs11:token=The%20Software%20PKCS%2311;manufacturer=Snake%20Oil;model=1.0;serial=00;slot-id=7;\
                   object=my-key;type=private;id=%69%95?module-path=/usr/lib/a%26b.so";
        let parsed = TokenUri::parse(uri).unwrap();
        assert_eq!(parsed.token.as_deref(), Some("The Software PKCS#11"));
        assert_eq!(parsed.manufacturer.as_deref(), Some("Snake Oil"));
        assert_eq!((parsed.model.as_deref(), parsed.serial.as_deref()), (Some("1.0"), Some("00")));
        assert_eq!((parsed.slot_id, parsed.object), (Some(7), Some(b"my-key".to_vec())));
        assert_eq!((parsed.id, parsed.module), (Some(vec![0x69, 0x95]), Some("/usr/lib/a&b.so".into())));
    }

    #[test]
    fn a_module_that_is_named_is_preferred() {
        let other = Some("other".into());
        let named = TokenUri::parse("pkcs11:token=a?module-path=own").unwrap();
        assert_eq!(named.with_default_module(other.clone()).module, Some("own".into()));
        let unnamed = TokenUri::parse("pkcs11:token=a").unwrap();
        assert_eq!(unnamed.with_default_module(other.clone()).module, other);
    }

    #[test]
    fn refuses_what_it_would_have_to_ignore() {
        for (uri, reason) in [
            ("pkcs11:", "it names no token and no key"),
            ("pkcs11:?module-path=x", "it names no token and no key"),
            ("pkcs11:token", "an attribute of it has no value"),
            ("pkcs11:token=a;token=b", "its attribute token stands twice"),
            ("pkcs11:token=%4", "its attribute token has a broken %"),
            ("pkcs11:token=%ff", "its attribute token is not UTF-8"),
            ("pkcs11:slot-id=x", "its slot-id is not a number"),
            ("pkcs11:token=a;type=cert", "its type is not that of a key"),
            ("pkcs11:library-version=1", "its attribute library-version is not supported"),
            ("file:x", "it does not start with pkcs11:"),
        ] {
            assert_eq!(TokenUri::parse(uri), Err(reason.to_owned()), "{uri}");
        }
    }

    #[test]
    fn refuses_a_pin_without_repeating_it() {
        for name in ["pin-value", "pin-source"] {
            let error = TokenUri::parse(&format!("pkcs11:token=a?{name}=9876")).unwrap_err();
            assert!(error.contains("give it as a password") && !error.contains("9876"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_uri(text in "\\PC{0,40}", rest in "[a-z%;=?&0-9-]{0,60}") {
            let _ = (TokenUri::parse(&text), TokenUri::parse(&format!("pkcs11:{rest}")));
        }

        #[test]
        fn reads_any_bytes_as_they_were(id in prop::collection::vec(any::<u8>(), 0..30)) {
            let text: String = id.iter().map(|byte| format!("%{byte:02x}")).collect();
            let parsed = TokenUri::parse(&format!("pkcs11:id={text}")).unwrap();
            prop_assert_eq!(parsed.id, Some(id));
        }
    }
}
