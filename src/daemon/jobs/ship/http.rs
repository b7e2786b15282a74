//! Records as lines in the body of a POST. A status 2xx says that they were taken.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Request, header};
use zeroize::Zeroizing;

use crate::config::target::{Reach, Target};
use crate::config::{Ship, ShipFormat};
use crate::daemon::jobs::ship::{Destination, line};
use crate::model::audit::AuditRecord;
use crate::net::connect::{SystemResolver, Way};
use crate::net::exchange::exchange;

pub(super) struct Http {
    way: Way,
    host: String,
    path: String,
    token_file: Option<PathBuf>,
    format: ShipFormat,
}

impl Http {
    pub(super) fn new(url: &str, target: &Target, ship: &Ship) -> Result<Self, String> {
        let ca = ship.ca_file.as_deref().filter(|_| target.secure);
        let way = Way::new(target.clone(), Reach::Private, ca, Arc::new(SystemResolver));
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            way: way.map_err(|error| error.to_string())?,
            host: host.to_owned(),
            path: format!("{slash}{path}"),
            token_file: ship.token_file.clone(),
            format: ship.format,
        })
    }

    const fn media_type(&self) -> &'static str {
        match self.format {
            ShipFormat::Json => "application/x-ndjson",
            ShipFormat::Cef => "text/plain; charset=utf-8",
        }
    }

    /// The token is read for each batch: one that was renewed is used at once.
    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let token = std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let token = Zeroizing::new(token);
        let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut value = HeaderValue::from_str(&bearer)
            .map_err(|_| format!("{} does not hold one line of ASCII", path.display()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Destination for Http {
    fn take<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut body = String::new();
            for record in records {
                body.push_str(&line(record, self.format)?);
                body.push('\n');
            }
            let mut request = Request::post(&self.path)
                .header(header::HOST, &self.host)
                .header(header::CONTENT_TYPE, self.media_type())
                .header(header::CONNECTION, "close");
            if let Some(value) = self.authorization()? {
                request = request.header(header::AUTHORIZATION, value);
            }
            let request = request.body(Full::new(Bytes::from(body)));
            let request = request.map_err(|error| error.to_string())?;
            let stream = self.way.connect().await?;
            let answer = exchange(stream, request).await;
            let (answer, driver) = answer.map_err(|error| format!("no answer: {error}"))?;
            let status = answer.status();
            // What else is said is of no interest, but is read: the connection ends in order.
            let _ = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            drop(driver);
            if status.is_success() {
                Ok(())
            } else {
                Err(format!("{} answered {status}", self.host))
            }
        })
    }
}

const ANSWER_MAX: usize = 64 << 10;
