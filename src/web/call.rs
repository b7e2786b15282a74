//! Calls of the API in this process, in the name of a person: the same declarations, roles, limits and audit as over
//! the network, without a connection.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use crate::api::Problem;
use crate::api::call::{Call, Place, Takes, target};
use crate::server::http::caller::Caller;
use crate::web::Desk;

/// What a call's path names.
type Written<'a, C> = <<C as Call>::Place as Place>::Text<'a>;

/// Why a call was not carried out, as the API says it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) detail: Detail,
}

/// What it says, and in which language: what the server says is not shown as it is.
#[derive(Debug)]
pub(crate) enum Detail {
    /// In the language of the page.
    Page(String),
    /// In English.
    Server(String),
}

impl Refused {
    /// Refused before the call was made; why, in the language of the page.
    pub(crate) fn of(status: StatusCode, detail: &str) -> Self {
        Self {
            status,
            detail: Detail::Page(detail.to_owned()),
        }
    }

    /// What the server says; nothing where the page said it.
    pub(crate) fn english(&self) -> &str {
        match &self.detail {
            Detail::Page(_) => "",
            Detail::Server(english) => english,
        }
    }

    fn defect() -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, "")
    }
}

impl Desk {
    /// Reads: a call without a body.
    pub(crate) async fn read<C: Call<Body = ()>>(
        &self,
        caller: &Caller,
        place: Written<'_, C>,
        query: &C::Query,
    ) -> Result<C::Answer, Refused> {
        self.call::<C>(caller, place, query, &()).await
    }

    /// Makes a call and reads its answer.
    pub(crate) async fn call<C: Call>(
        &self,
        caller: &Caller,
        place: Written<'_, C>,
        query: &C::Query,
        body: &C::Body,
    ) -> Result<C::Answer, Refused> {
        let target = target::<C>(place, query).map_err(|_| Refused::defect())?;
        let body = match C::OPERATION.takes {
            Takes::Nothing => None,
            Takes::Body | Takes::OptionalBody => {
                let octets = serde_json::to_vec(body).map_err(|_| Refused::defect())?;
                Some(Zeroizing::new(octets))
            }
        };
        let octets = self
            .send(caller, C::OPERATION.method, &target, body)
            .await?;
        parse(&octets)
    }

    /// Makes a call; the octets of its answer.
    pub(crate) async fn send(
        &self,
        caller: &Caller,
        method: Method,
        target: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        self.send_expecting(caller, method, target, body, None)
            .await
    }

    /// The same of a record that has this revision.
    pub(crate) async fn send_expecting(
        &self,
        caller: &Caller,
        method: Method,
        target: &str,
        body: Option<Zeroizing<Vec<u8>>>,
        expected: Option<&str>,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let mut call = Request::builder().method(method).uri(target);
        if let Some(revision) = expected {
            call = call.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        let body = match body {
            None => Body::empty(),
            Some(octets) => {
                call = call.header(header::CONTENT_TYPE, "application/json");
                Body::from(octets.to_vec())
            }
        };
        let mut call = call.body(body).map_err(|_| Refused::defect())?;
        call.extensions_mut().insert(caller.clone());
        let Ok(answer) = self.calls.clone().oneshot(call).await;
        let status = answer.status();
        let octets = answer.into_body().collect().await;
        let octets = octets.map_err(|_| Refused::defect())?.to_bytes();
        let octets = Zeroizing::new(octets.to_vec());
        if status.is_success() {
            return Ok(octets);
        }
        let problem: Option<Problem> = serde_json::from_slice(&octets).ok();
        Err(Refused {
            status,
            detail: Detail::Server(problem.map_or_else(String::new, |problem| problem.detail)),
        })
    }
}

/// The document of an answer; nothing is `null`.
pub(crate) fn parse<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Refused> {
    let octets = if octets.is_empty() { b"null" } else { octets };
    serde_json::from_slice(octets).map_err(|_| Refused::defect())
}
