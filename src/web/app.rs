//! The authenticator of the browser, under `/app/`: files that a service worker keeps, so that its codes need no
//! network.
//!
//! What it asks for are calls of devices ([`crate::server::http`]); there is nothing of a user in these files.
//!
//! Invariant: the service worker names the version of all files together, so a browser has the files of one
//! release and never of two.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::web::assets::media;

#[derive(rust_embed::Embed)]
#[folder = "src/web/app"]
struct Files;

struct File {
    media: &'static str,
    tag: String,
    octets: Cow<'static, [u8]>,
}

static ALL: LazyLock<BTreeMap<String, File>> = LazyLock::new(|| {
    let read = |name: Cow<'static, str>| {
        let octets = Files::get(&name)?.data;
        let (_, ending) = name.rsplit_once('.')?;
        let file = File {
            media: media(ending),
            tag: digest(&octets),
            octets,
        };
        Some((name.into_owned(), file))
    };
    let mut all: BTreeMap<String, File> = Files::iter().filter_map(read).collect();
    if let Some(worker) = all.remove(WORKER) {
        let filled = filled(&worker, &all);
        all.insert(WORKER.to_owned(), filled);
    }
    all
});

/// The service worker of these files.
fn filled(worker: &File, others: &BTreeMap<String, File>) -> File {
    let mut version = worker.tag.clone();
    let mut paths = vec![format!("\"{PREFIX}\"")];
    for (name, file) in others {
        version.push_str(&file.tag);
        if name != PAGE {
            paths.push(format!("\"{PREFIX}{name}\""));
        }
    }
    let text = String::from_utf8_lossy(&worker.octets)
        .replace("{version}", &digest(version.as_bytes()))
        .replace("\"{files}\"", &paths.join(", "));
    File {
        media: worker.media,
        tag: digest(text.as_bytes()),
        octets: text.into_bytes().into(),
    }
}

/// Serves the files; `S` is of no use to them.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/app", get(async || Redirect::permanent(PREFIX)))
        .route(PREFIX, get(async |headers: HeaderMap| file(PAGE, &headers)))
        .route(
            "/app/{file}",
            get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)),
        )
}

fn file(name: &str, asked: &HeaderMap) -> Response {
    let Some(file) = ALL.get(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", file.tag);
    let known = asked.get(header::IF_NONE_MATCH);
    let same = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.octets.clone().into_response()
    };
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, file.media);
    set(header::ETAG, &tag);
    // Asked for again every time: the service worker is what keeps them.
    set(header::CACHE_CONTROL, "no-cache");
    response
}

fn digest(octets: &[u8]) -> String {
    let mut text = HEXLOWER.encode(&Sha256::digest(octets));
    text.truncate(24);
    text
}

const PREFIX: &str = "/app/";
const PAGE: &str = "index.html";
const WORKER: &str = "sw.js";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_names_every_file_and_their_version() {
        let worker = String::from_utf8_lossy(&ALL[WORKER].octets);
        assert!(!worker.contains("{version}") && !worker.contains("{files}"));
        for name in ALL
            .keys()
            .filter(|name| ![PAGE, WORKER].contains(&name.as_str()))
        {
            assert!(worker.contains(&format!("\"/app/{name}\"")), "{name}");
        }
        assert!(worker.contains("[\"/app/\", "));
    }

    #[test]
    fn no_script_or_style_stands_in_the_page() {
        let page = String::from_utf8_lossy(&ALL[PAGE].octets);
        for never in [
            "style=",
            "<style",
            "onclick",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!page.contains(never), "{never}");
        }
        for (before, script) in page.match_indices("<script") {
            assert!(
                page[before..].starts_with("<script type=\"module\" src="),
                "{script}"
            );
        }
    }

    #[test]
    fn what_is_unchanged_is_not_sent_again() {
        let mut headers = HeaderMap::new();
        let first = file("main.js", &headers);
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        headers.insert(header::IF_NONE_MATCH, tag);
        assert_eq!(file("main.js", &headers).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file("../app.rs", &headers).status(), StatusCode::NOT_FOUND);
    }
}
