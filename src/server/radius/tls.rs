//! TLS for RADIUS (RFC 6614, draft-ietf-radext-radiusdtls-bis): certificates on both sides.
//!
//! Invariants: a connection without a certificate of the configured authorities does not come about; the names
//! of a client are those of its certificate's `SubjectAltName`, its Common Name only where there is none
//! (RFC 9525 s6.3 has no wildcards for clients); no resumption and no early data, so that each connection is
//! proven anew. A reload takes effect as a whole or changes nothing.
//!
//! Threat: a certificate that another authority made for the same name (CVE-2012-4523): there is one set of
//! authorities, and a name is one client's.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::config::RadiusTls as Files;
use crate::server::certificate::Validity;
use crate::server::tls::{Pair, TlsError, read_pair, words};
use crate::time::UnixTime;

/// Accepts TLS with the files that were loaded last.
pub struct RadiusTls {
    loaded: ArcSwap<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    validity: Validity,
    sha256: [u8; 32],
}

impl RadiusTls {
    /// Reads the files.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let loaded = ArcSwap::from_pointee(read(files)?);
        Ok(Self { loaded })
    }

    /// Takes the files as they are now. Where something is wrong with them, those in use stay.
    pub fn replace(&self, files: &Files, now: UnixTime) -> Result<(), TlsError> {
        let loaded = read(files)?;
        let concerns = loaded.validity.concerns(now);
        if let Some(concern) = concerns.into_iter().find(|concern| concern.is_refused) {
            return Err(TlsError {
                file: files.certificate.clone(),
                cause: concern.what,
                remedy: "put a certificate there that is valid now; then `oncegate reload`",
            });
        }
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }

    /// What the present certificate says about itself.
    pub fn validity(&self) -> Validity {
        self.loaded.load().validity.clone()
    }

    /// SHA-256 of the present chain.
    pub fn sha256(&self) -> [u8; 32] {
        self.loaded.load().sha256
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.loaded.load().config))
    }
}

fn read(files: &Files) -> Result<Loaded, TlsError> {
    let Pair {
        chain,
        private,
        validity,
        sha256,
    } = read_pair(&files.certificate, &files.key)?;
    let fault = |file: &Path, cause: String, remedy| TlsError {
        file: file.to_owned(),
        cause,
        remedy,
    };
    let authorities: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files.client_ca).and_then(Iterator::collect);
    let authorities =
        authorities.map_err(|error| fault(&files.client_ca, words(&error), CA_REMEDY))?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(authority);
        added.map_err(|error| fault(&files.client_ca, error.to_string(), CA_REMEDY))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.build();
    let verifier =
        verifier.map_err(|error| fault(&files.client_ca, error.to_string(), CA_REMEDY))?;
    let versions = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring serves TLS 1.2 and 1.3");
    let config = versions
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| fault(&files.key, error.to_string(), PAIR_REMEDY))?;
    config.alpn_protocols = vec![V11.to_vec(), V10.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded {
        config: Arc::new(config),
        validity,
        sha256,
    })
}

/// What a client's certificate says.
pub(super) struct Certificate {
    /// Its names, in lower case.
    pub(super) names: Vec<String>,
    /// Until when it is valid.
    pub(super) until: UnixTime,
}

impl Certificate {
    /// Reads it; the handshake has proven it.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der.as_ref()).ok()?;
        let subject = certificate.subject_alternative_name().ok().flatten();
        let general = subject.iter().flat_map(|one| &one.value.general_names);
        let mut names: Vec<String> = general
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            let common = certificate.subject().iter_common_name().next();
            let common = common.and_then(|name| name.as_str().ok());
            names.extend(common.map(str::to_ascii_lowercase));
        }
        let until = certificate.validity().not_after.timestamp();
        Some(Self {
            names,
            until: UnixTime::from_secs(u64::try_from(until).unwrap_or_default()),
        })
    }
}

/// ALPN of RADIUS over TLS with MD5 in it (radiusdtls-bis), and without (RFC 9765).
pub(super) const V10: &[u8] = b"radius/1.0";
pub(super) const V11: &[u8] = b"radius/1.1";

const CA_REMEDY: &str = "`radius.tls.client_ca` names a PEM file that the daemon can read, with the certificates of \
                         the authorities that make those of clients";
const PAIR_REMEDY: &str =
    "give the private key that belongs to the first certificate of `radius.tls.certificate`";
