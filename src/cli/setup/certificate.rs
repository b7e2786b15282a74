//! A certificate that no authority has made, for HTTPS on the first day.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use crate::cli::error::CliError;

/// Whether certificates can be made for this name: a host name as it stands in an address, or an IP address.
pub(super) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let ends = !label.starts_with('-') && !label.ends_with('-');
        ends && (1..=63).contains(&label.len()) && label.chars().all(inner)
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

/// The two files in the directory of the installation: certificate and private key.
pub(super) fn files(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("http.pem"), dir.join("http.key"))
}

/// Makes both files, for two years from now.
pub(super) fn make(dir: &Path, name: &str) -> Result<(), CliError> {
    let made = pem(name, Timestamp::now()).map_err(|error| {
        CliError::unavailable(format!("no certificate can be made for {name}: {error}"))
            .remedy("name one with --certificate and --key")
    })?;
    let (certificate, key) = files(dir);
    for (file, text, mode) in [(&key, &made.1, 0o600), (&certificate, &made.0, 0o644)] {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(mode).open(file);
        let written = opened.and_then(|mut opened| {
            opened.write_all(text.as_bytes())?;
            opened.sync_all()
        });
        written.map_err(|error| {
            CliError::unavailable(format!("{} cannot be written: {error}", file.display()))
                .remedy("see that there is space and that you may write there")
        })?;
    }
    Ok(())
}

fn pem(name: &str, now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(date.year().into(), month, day)
    };
    // A day before: clocks differ.
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(2.years()));
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}
