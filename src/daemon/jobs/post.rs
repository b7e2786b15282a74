//! A POST to a program of the site. A status 2xx says that it took what it was given.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, header, http};

use crate::config::target::{Reach, Target};
use crate::net::connect::{SystemResolver, Way};
use crate::net::exchange::exchange;

/// Where it goes.
pub(super) struct Post {
    way: Way,
    host: String,
    path: String,
}

impl Post {
    pub(super) fn new(url: &str, target: &Target, ca_file: Option<&Path>) -> Result<Self, String> {
        let ca = ca_file.filter(|_| target.secure);
        let way = Way::new(target.clone(), Reach::Private, ca, Arc::new(SystemResolver));
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            way: way.map_err(|error| error.to_string())?,
            host: host.to_owned(),
            path: format!("{slash}{path}"),
        })
    }

    /// Makes a connection and gives it up again.
    pub(super) async fn reach(&self) -> Result<(), String> {
        self.way.connect().await.map(drop)
    }

    /// Sends a body, with the headers that `with` adds.
    pub(super) async fn send(
        &self,
        body: String,
        with: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> Result<(), String> {
        let request = Request::post(&self.path)
            .header(header::HOST, &self.host)
            .header(header::CONNECTION, "close");
        let request = with(request).body(Full::new(Bytes::from(body)));
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
    }
}

const ANSWER_MAX: usize = 64 << 10;
