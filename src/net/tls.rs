//! TLS towards others: whose certificates are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the authority.
    #[error("{}: {why}", .path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system's directory of authorities is empty.
    #[error("this machine has no certificate authorities")]
    NoAuthorities,
    /// The host of a certificate.
    #[error("no valid host name")]
    Name,
    /// The library.
    #[error("no TLS: {0}")]
    Library(String),
}

impl TlsError {
    /// What to do next.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Authority { .. } => "name a PEM file with the certificate of the authority",
            Self::NoAuthorities => {
                "install ca-certificates, or name the file of the authority (PEM)"
            }
            Self::Name => "write a host name as it stands in the certificate",
            Self::Library(_) => "this is a defect of oncegate",
        }
    }
}

/// Believes the authorities of a PEM file, or those of the system.
pub fn client_config(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let bad = |why: String| TlsError::Authority {
            path: path.to_owned(),
            why,
        };
        let certificates = CertificateDer::pem_file_iter(path);
        for certificate in certificates.map_err(|error| bad(error.to_string()))? {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad("no certificate in it".to_owned()));
        }
    } else {
        // Single certificates of the system that cannot be read are no reason to fail.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Library(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
