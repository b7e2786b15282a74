//! TLS for the HTTP listeners and for EAP: certificate and key from PEM files, replaced while running.
//!
//! Sources: RFC 8446, RFC 5246 (TLS 1.3 and 1.2; nothing older), RFC 7301 (ALPN).
//!
//! Invariant: a reload either takes effect as a whole or changes nothing; connections keep the
//! certificate they were opened with. Errors name the file and the remedy, never file contents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::NoServerSessionStorage;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::server::certificate::Validity;
use crate::time::UnixTime;

/// Accepts TLS with the certificate that was loaded last.
pub struct Tls {
    loaded: ArcSwap<Loaded>,
}

/// A pair of files as they were read.
struct Loaded {
    config: Arc<ServerConfig>,
    validity: Validity,
    sha256: [u8; 32],
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}; {remedy}", .file.display())]
pub struct TlsError {
    /// The file that is at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub cause: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Tls {
    /// Reads the certificate chain and its private key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let loaded = ArcSwap::from_pointee(read(certificate, key)?);
        Ok(Self { loaded })
    }

    /// Serves the pair in these files from now on. When it cannot be read, or clients would refuse it
    /// at `now`, the certificate in use stays in use.
    pub fn replace(&self, certificate: &Path, key: &Path, now: UnixTime) -> Result<(), TlsError> {
        let loaded = read(certificate, key)?;
        let concerns = loaded.validity.concerns(now);
        if let Some(concern) = concerns.into_iter().find(|concern| concern.is_refused) {
            return Err(TlsError {
                file: certificate.to_owned(),
                cause: concern.what,
                remedy: RENEW_REMEDY,
            });
        }
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }

    /// What the present certificate says about itself.
    pub fn validity(&self) -> Validity {
        self.loaded.load().validity.clone()
    }

    /// SHA-256 of the present chain, of its certificates in DER one after the other: the fingerprint where
    /// it is one certificate.
    pub fn sha256(&self) -> [u8; 32] {
        self.loaded.load().sha256
    }

    /// For EAP, where TLS is no stream to an application: without a protocol's name, and without sessions
    /// that could be resumed, since a resumed one skips what is asked inside (CVE-2017-9148).
    pub fn sessionless(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.loaded.load().config);
        config.alpn_protocols.clear();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }

    /// An acceptor with the present certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.loaded.load().config))
    }
}

/// A certificate chain and its private key, as they were read.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) private: PrivateKeyDer<'static>,
    pub(super) validity: Validity,
    /// Of the certificates in DER, one after the other.
    pub(super) sha256: [u8; 32],
}

/// Reads a chain and a key.
pub(super) fn read_pair(certificate: &Path, key: &Path) -> Result<Pair, TlsError> {
    let fault = |file: &Path, cause: String, remedy| TlsError {
        file: file.to_owned(),
        cause,
        remedy,
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| fault(certificate, words(&error), CHAIN_REMEDY))?;
    if chain.is_empty() {
        return Err(fault(
            certificate,
            "no certificate in it".to_owned(),
            CHAIN_REMEDY,
        ));
    }
    let validity = Validity::of(&chain).map_err(|what| fault(certificate, what, CHAIN_REMEDY))?;
    let sha256 = chain.iter().fold(Sha256::new(), Sha256::chain_update);
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, words(&error), KEY_REMEDY))?;
    Ok(Pair {
        chain,
        private,
        validity,
        sha256: sha256.finalize().into(),
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let Pair {
        chain,
        private,
        validity,
        sha256,
    } = read_pair(certificate, key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring serves TLS 1.2 and 1.3");
    let config = versions
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| TlsError {
        file: key.to_owned(),
        cause: error.to_string(),
        remedy: PAIR_REMEDY,
    })?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        validity,
        sha256,
    })
}

/// HTTP/2 by its name in ALPN (RFC 9113 s3.2).
pub(crate) const HTTP_2: &[u8] = b"h2";

/// The cause without the file's contents.
pub(super) fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "nothing of that kind in it".to_owned(),
        _ => "it is not PEM".to_owned(),
    }
}

const CHAIN_REMEDY: &str = "`certificate` names a PEM file that the daemon can read, \
                            the server's certificate first";
const KEY_REMEDY: &str = "`key` names an unencrypted PEM file (PKCS#8, PKCS#1 or SEC1) \
                          that the daemon can read";
const RENEW_REMEDY: &str = "put a certificate there that is valid now, the server's first and each \
                            issuer behind it; then `oncegate reload`";
const PAIR_REMEDY: &str = "give the private key that belongs to the first certificate of \
                           `certificate`";

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(directory: &Path) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    }

    #[test]
    fn a_bad_reload_keeps_the_old_certificate_and_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = pair(directory.path());
        let tls = Tls::load(&certificate, &key).unwrap();
        let before = tls.loaded.load_full();
        let now = UnixTime::from_secs(1_795_000_020);

        let other = tempfile::tempdir().unwrap();
        std::fs::copy(pair(other.path()).1, &key).unwrap();
        let error = tls.replace(&certificate, &key, now).unwrap_err();
        assert_eq!(error.file, key);
        assert!(error.to_string().contains("belongs to"), "{error}");

        std::fs::write(&certificate, "SECRET CONTENTS").unwrap();
        let error = tls.replace(&certificate, &key, now).unwrap_err();
        assert_eq!(error.file, certificate);
        assert!(!error.to_string().contains("SECRET"), "{error}");

        std::fs::remove_file(&certificate).unwrap();
        let error = tls.replace(&certificate, &key, now).unwrap_err();
        assert_eq!(error.file, certificate);
        assert!(Arc::ptr_eq(&before, &tls.loaded.load_full()));
    }
}
