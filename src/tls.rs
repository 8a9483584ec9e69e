//! TLS for the client and for buckets: rustls over ring, with the certificate authorities of the system.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// The certificate authorities that a server of `https:` may be vouched for by: the system's (`SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name others), and more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    more: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Adds those in a text in PEM; there must be at least one.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, String> {
        let before = self.more.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
            // told now, not at the first connection
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| format!("a certificate in it is of no use: {error}"))?;
            self.more.push(certificate);
        }
        if self.more.len() == before { Err("there is no certificate in it".to_owned()) } else { Ok(self) }
    }
}

/// Makes a configuration that speaks HTTP/2 and HTTP/1.1. Nothing is installed for the whole process.
pub(crate) fn config(authorities: Authorities) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = SystemVerifier { provider: Arc::clone(&provider), authorities, verifier: OnceLock::new() };
    let verifier = Arc::new(verifier);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // rustls' word for bringing a verifier; this one checks everything
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's verifier, made when the first certificate arrives: plain HTTP costs no look at the system's
/// certificates and works on a machine that has none.
#[derive(Debug)]
struct SystemVerifier {
    provider: Arc<CryptoProvider>,
    authorities: Authorities,
    verifier: OnceLock<Result<Verifier, Error>>,
}

impl SystemVerifier {
    fn verifier(&self) -> Result<&Verifier, Error> {
        let made = self.verifier.get_or_init(|| {
            Verifier::new_with_extra_roots(self.authorities.more.clone(), Arc::clone(&self.provider))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for SystemVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
