//! From the URL of a bucket to the server that has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::tls::{self, Authorities};

/// How long a connection may take, and how long a server may be silent.
const CONNECT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(30);

/// Where a bucket is: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, and at which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUrl {
    kind: Kind,
    bucket: String,
    prefix: String,
    endpoint: Option<Url>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    S3,
    Google,
    Azure,
}

/// Why a URL names no bucket. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BucketUrlError(String);

/// The schemes of buckets.
const SCHEMES: [&str; 3] = ["s3", "gs", "az"];

/// Returns the scheme of a bucket that a text begins with, whatever follows its colon.
fn scheme_of(text: &str) -> Option<&'static str> {
    let (head, _) = text.split_once(':')?;
    SCHEMES.into_iter().find(|scheme| scheme.eq_ignore_ascii_case(head))
}

impl BucketUrl {
    /// Tells whether a destination is meant as a URL rather than a folder.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://") || Self::is_of_bucket(text)
    }

    /// Tells whether a text begins with the scheme of a bucket.
    pub fn is_of_bucket(text: &str) -> bool {
        scheme_of(text).is_some()
    }

    /// Reads the URL of a bucket, and of a server where it is not the cloud's own.
    ///
    /// # Errors
    /// [`BucketUrlError`].
    pub fn parse(text: &str, endpoint: Option<&str>) -> Result<Self, BucketUrlError> {
        let shown = text.escape_debug();
        let refused = |reason: &str| BucketUrlError(format!("'{shown}' {reason}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| match scheme_of(text) {
            Some(scheme) => BucketUrlError(format!(
                "'{shown}' is no URL of a bucket, which is written {scheme}://bucket/prefix; a folder of that name is './{shown}'"
            )),
            None => refused("is not a URL"),
        })?;
        let lower = scheme.to_ascii_lowercase();
        let scheme = if Self::is_of_bucket(text) { lower.as_str() } else { scheme };
        let kind = match scheme {
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" => Kind::Azure,
            // what stands before an @ may be a password
            _ => return Err(BucketUrlError(format!("no bucket is at a {} URL", scheme.escape_debug()))),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(BucketUrlError(format!("a bucket is named like {scheme}://bucket/prefix")));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.chars().any(char::is_control)
            || !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(refused("has a prefix that is not a plain path"));
        }
        let endpoint = endpoint.map(server).transpose()?;
        Ok(Self { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned(), endpoint })
    }

    /// Returns the path in front of all names, without a slash at its end.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Connects, with credentials and settings from the environment. No request is made yet.
    pub(super) fn connect(&self) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
        let retries = RetryConfig {
            max_retries: 4,
            retry_timeout: Duration::from_secs(90),
            backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        };
        // whoever types a server of http: means it; one from the environment needs the environment's word for it
        let typed_http = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
        let endpoint = self.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        Ok(match self.kind {
            Kind::S3 => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(&self.bucket)
                    .with_retry(retries)
                    .with_http_connector(Connector);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if typed_http {
                    builder = builder.with_allow_http(true);
                }
                Arc::new(builder.build()?)
            }
            Kind::Google => {
                let mut builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(&self.bucket)
                    .with_retry(retries)
                    .with_http_connector(Connector);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_base_url(&endpoint);
                }
                if typed_http {
                    builder = builder.with_client_options(ClientOptions::new().with_allow_http(true));
                }
                Arc::new(builder.build()?)
            }
            Kind::Azure => {
                let mut builder = MicrosoftAzureBuilder::from_env()
                    .with_container_name(&self.bucket)
                    .with_retry(retries)
                    .with_http_connector(Connector);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if typed_http {
                    builder = builder.with_allow_http(true);
                }
                Arc::new(builder.build()?)
            }
        })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::S3 => "s3",
            Kind::Google => "gs",
            Kind::Azure => "az",
        };
        write!(f, "{scheme}://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn server(text: &str) -> Result<Url, BucketUrlError> {
    let refused =
        || BucketUrlError("a server is named like https://host:port, without a password".to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let plain = url.has_host() && url.username().is_empty() && url.password().is_none();
    if plain && matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(refused()) }
}

/// Makes the client that requests go through: TLS as everywhere in this project, proxies from the environment.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, object_store::Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
            store: "HTTP",
            source,
        };
        let mut tls = tls::config(Authorities::default()).map_err(|error| failed(error.into()))?;
        // several connections carry more than one that is shared
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(http.as_deref() != Some("true"))
            .http1_only()
            .user_agent(concat!("tuf-repo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(HttpClient::new(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_scheme_name_and_prefix() {
        for (text, shown) in [
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("gs://bucket", "gs://bucket"),
            ("az://container/p", "az://container/p"),
        ] {
            assert_eq!(BucketUrl::parse(text, None).unwrap().to_string(), shown);
        }
        for text in
            ["s3://", "s3:///p", "ftp://host/x", "s3://b/a/../c", "s3://b//a", "s3://user:pw@b/c", "bucket"]
        {
            assert!(BucketUrl::parse(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refused_url_does_not_repeat_a_password() {
        for (text, endpoint) in [
            ("s3://user:secret@bucket/p", None),
            ("https://user:secret@host/p", None),
            ("s3://bucket", Some("https://user:secret@host")),
        ] {
            let error = BucketUrl::parse(text, endpoint).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn every_kind_of_bucket_can_be_connected() {
        for (text, endpoint) in [
            ("s3://bucket/p", Some("http://127.0.0.1:1")),
            ("gs://bucket/p", None),
            ("az://container/p", Some("https://account.blob.example.net")),
        ] {
            let connected = BucketUrl::parse(text, endpoint).unwrap().connect();
            // an account of Azure is named by the environment
            let known = connected.is_ok() || text.starts_with("az:");
            assert!(known, "{text}: {:?}", connected.err());
        }
    }
}
