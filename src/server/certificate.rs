//! What is wrong with a certificate before a client refuses it: its chain and its dates.
//!
//! Source: RFC 5280 s4.1.2.5 (validity), s6.1 (each certificate is signed by the next one). Whether an
//! authority that clients trust stands behind it is theirs to know.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::parse_x509_certificate;

use crate::time::UnixTime;

/// What a chain says about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Validity {
    /// From when all certificates of the chain are valid.
    pub not_before: UnixTime,
    /// Until when.
    pub not_after: UnixTime,
    /// What is wrong with their order.
    chain: Option<String>,
}

/// What should be mended about a certificate that is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Concern {
    /// Whether clients refuse it already.
    pub is_refused: bool,
    /// What it is.
    pub what: String,
}

impl Validity {
    /// Reads the chain, the server's certificate first.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Result<Self, String> {
        let parse = |octets| match parse_x509_certificate(octets) {
            Ok((_, certificate)) => Ok(certificate),
            Err(_) => Err("it holds what is not an X.509 certificate".to_owned()),
        };
        let certificates: Vec<X509Certificate<'_>> = chain
            .iter()
            .map(|one| parse(one.as_ref()))
            .collect::<Result<_, _>>()?;
        let time = |seconds: i64| UnixTime::from_secs(u64::try_from(seconds).unwrap_or_default());
        let begins = certificates.iter().map(|one| one.validity().not_before);
        let ends = certificates.iter().map(|one| one.validity().not_after);
        let (begin, end) = (
            begins.map(|at| at.timestamp()).max().unwrap_or_default(),
            ends.map(|at| at.timestamp()).min().unwrap_or_default(),
        );
        Ok(Self {
            not_before: time(begin),
            not_after: time(end),
            chain: certificates.windows(2).find_map(link),
        })
    }

    /// What clients refuse at `now`, or soon will.
    pub fn concerns(&self, now: UnixTime) -> Vec<Concern> {
        let mut concerns = Vec::new();
        let mut push = |is_refused, what| concerns.push(Concern { is_refused, what });
        if let Some(what) = &self.chain {
            push(true, what.clone());
        }
        let (begin, end) = (self.not_before.rfc3339(), self.not_after.rfc3339());
        if now < self.not_before {
            push(true, format!("it is not valid before {begin}"));
        }
        if now > self.not_after {
            push(true, format!("it expired at {end}"));
        } else if now.plus(SOON) > self.not_after {
            let days = self.not_after.since(now).as_secs() / 86_400;
            let days = if days == 1 {
                "1 day".to_owned()
            } else {
                format!("{days} days")
            };
            push(false, format!("it expires at {end}, in {days}"));
        }
        concerns
    }
}

/// What is wrong between a certificate and the one behind it.
fn link(pair: &[X509Certificate<'_>]) -> Option<String> {
    let [one, next] = pair else { return None };
    let (subject, issuer) = (next.subject(), one.issuer());
    if subject.as_raw() != issuer.as_raw() {
        return Some(format!(
            "the chain is out of order: `{}` was issued by `{issuer}`, but `{subject}` follows it",
            one.subject()
        ));
    }
    // An algorithm that cannot be checked here is no fault of the chain.
    let signed = one.verify_signature(Some(next.public_key()));
    matches!(signed, Err(X509Error::SignatureVerificationError)).then(|| {
        format!(
            "the chain is wrong: `{}` was not signed by the `{subject}` that follows it",
            one.subject()
        )
    })
}

/// How long before its end a certificate is named.
const SOON: Duration = Duration::from_hours(30 * 24);
