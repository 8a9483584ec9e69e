//! `https:` with an authority of one's own, over HTTP/2.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::host::find;
use crate::scene::{Run, Scene, simulator};

/// Serves a folder to clients that speak HTTP/2 only, and leaves the authority's certificate in a file.
fn serve(folder: &Path, authority: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(authority, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, folder) = (acceptor.clone(), folder.clone());
                tokio::spawn(async move {
                    // a client that does not trust us hangs up
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let file = find(&folder, request.uri().path());
                        async move {
                            Ok::<_, Infallible>(match std::fs::read(file) {
                                Ok(bytes) => Response::new(Full::new(Bytes::from(bytes))),
                                Err(_) => {
                                    Response::builder().status(404).body(Full::new(Bytes::new())).unwrap()
                                }
                            })
                        }
                    });
                    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
    });
    url
}

#[test]
fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    let scene = Scene::started(&simulator());
    let authority = scene.work().join("authority.pem");
    let url = serve(&scene.repository(), &authority);
    scene.run(&["--repo", &url, "refresh"]).fails(1, "root: DownloadError: ");
    scene.run(&["--repo", &url, "--ca-cert", "authority.pem", "--jobs", "8"]).succeeds();
    assert!(scene.work().join("targets/one.txt").exists());
    let mut command = scene.command(&["--repo", &url, "refresh"]);
    Run(command.env("SSL_CERT_FILE", &authority).output().unwrap()).succeeds();
}

#[test]
fn a_file_without_certificates_is_named() {
    let scene = Scene::started(&simulator());
    let arguments = ["--repo", "https://localhost", "--ca-cert", "absent.pem", "refresh"];
    scene.run(&arguments).fails(1, "absent.pem: io: No such file");
    std::fs::write(scene.work().join("empty.pem"), "nothing").unwrap();
    let arguments = ["--repo", "https://localhost", "--ca-cert", "empty.pem", "refresh"];
    scene.run(&arguments).fails(1, "empty.pem: io: there is no certificate in it");
}
