//! Records as syslog messages (RFC 5424), counted in octets over TCP (RFC 6587 s3.4.1) or TLS (RFC 5425).
//!
//! Syslog has no acknowledgement. So each batch has a connection of its own: when all is written, the writing side is
//! closed, and the server closes when it has read to the end. A connection that ends in another way took nothing.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::target::{Reach, Target};
use crate::config::{Ship, ShipFormat};
use crate::daemon::jobs::ship::{Destination, line};
use crate::model::audit::{AuditRecord, Event};
use crate::model::reason::Decision;
use crate::net::connect::{SystemResolver, Way};

pub(super) struct Syslog {
    way: Way,
    host: String,
    format: ShipFormat,
}

impl Syslog {
    pub(super) fn new(target: &Target, ship: &Ship) -> Result<Self, String> {
        let ca = ship.ca_file.as_deref().filter(|_| target.secure);
        let way = Way::new(target.clone(), Reach::Private, ca, Arc::new(SystemResolver));
        let host = nix::unistd::gethostname().ok();
        let host = host.and_then(|host| host.into_string().ok());
        Ok(Self {
            way: way.map_err(|error| error.to_string())?,
            host: host.map_or_else(|| "-".to_owned(), |host| header(&host, 255)),
            format: ship.format,
        })
    }
}

impl Destination for Syslog {
    fn take<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut frames = Vec::new();
            for record in records {
                let message = message(record, &self.host, self.format)?;
                frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
                frames.extend_from_slice(message.as_bytes());
            }
            let mut stream = self.way.connect().await?;
            let broken = |error: std::io::Error| {
                format!("the connection to {} broke: {error}", self.way.host())
            };
            stream.write_all(&frames).await.map_err(broken)?;
            stream.flush().await.map_err(broken)?;
            stream.shutdown().await.map_err(broken)?;
            let mut rest = [0; 256];
            loop {
                match stream.read(&mut rest).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    // A server that closes TLS without a word has read to the end all the same.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Ok(());
                    }
                    Err(error) => return Err(broken(error)),
                }
            }
        })
    }
}

/// `<PRI>1 TIME HOST oncegate PID WORD [oncegate@32473 seq="N" request="ID"] LINE`.
fn message(record: &AuditRecord, host: &str, format: ShipFormat) -> Result<String, String> {
    let (severity, word) = match &record.event {
        // By what was decided: a refusal that looks like a challenge is one.
        Event::Decision(event) => match event.reason.decision() {
            Decision::Accept | Decision::Challenge => (INFO, event.reason.as_str().to_owned()),
            Decision::Reject => (NOTICE, event.reason.as_str().to_owned()),
        },
        Event::Change(event) => (NOTICE, event.action.clone()),
    };
    Ok(format!(
        "<{}>1 {} {host} oncegate {} {} [oncegate@32473 seq=\"{}\" request=\"{}\"] {}",
        AUTHPRIV * 8 + severity,
        record.at.rfc3339(),
        std::process::id(),
        header(&word, 32),
        record.seq,
        record.event.request(),
        line(record, format)?
    ))
}

/// A field of the header: visible ASCII, at most so many.
fn header(text: &str, most: usize) -> String {
    let visible = text.chars().filter(char::is_ascii_graphic);
    let text: String = visible.take(most).collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// Facility 10 (RFC 5424 s6.2.1).
const AUTHPRIV: u8 = 10;
const NOTICE: u8 = 5;
const INFO: u8 = 6;
