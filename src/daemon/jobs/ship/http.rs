//! Records as lines in the body of a POST. A status 2xx says that they were taken.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Builder;
use zeroize::Zeroizing;

use crate::config::target::Target;
use crate::config::{Ship, ShipFormat};
use crate::daemon::jobs::post::Post;
use crate::daemon::jobs::ship::{Destination, line};
use crate::delivery::read_secret;
use crate::model::audit::AuditRecord;

pub(super) struct Http {
    post: Post,
    token_file: Option<PathBuf>,
    format: ShipFormat,
}

impl Http {
    pub(super) fn new(url: &str, target: &Target, ship: &Ship) -> Result<Self, String> {
        Ok(Self {
            post: Post::new(url, target, ship.ca_file.as_deref())?,
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
        self.token_file.as_deref().map(token).transpose()
    }
}

/// The header with the token in a file: one line of ASCII.
pub(in crate::daemon) fn token(path: &Path) -> Result<HeaderValue, String> {
    let token = read_secret(path)?;
    let bearer = Zeroizing::new(format!("Bearer {}", token.expose().trim()));
    let mut value = HeaderValue::from_str(&bearer)
        .map_err(|_| format!("{} does not hold one line of ASCII", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Destination for Http {
    fn take<'a>(&'a self, records: &'a [AuditRecord]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut body = String::new();
            for record in records {
                body.push_str(&line(record, self.format)?);
                body.push('\n');
            }
            let authorization = self.authorization()?;
            let with = |request: Builder| {
                let request = request.header(header::CONTENT_TYPE, self.media_type());
                match authorization {
                    Some(value) => request.header(header::AUTHORIZATION, value),
                    None => request,
                }
            };
            self.post.send(body, with).await
        })
    }
}
