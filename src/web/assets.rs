//! Style, scripts and pictures. Their addresses name their content, so that browsers keep them for a year.

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;

#[derive(rust_embed::Embed)]
#[folder = "src/web/assets"]
struct Files;

struct Asset {
    name: String,
    path: String,
    media: &'static str,
    octets: Cow<'static, [u8]>,
}

static ALL: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let read = |name: Cow<'static, str>| {
        let file = Files::get(&name)?;
        let digest = HEXLOWER.encode(&file.metadata.sha256_hash());
        let (stem, ending) = name.rsplit_once('.')?;
        Some(Asset {
            path: format!("/assets/{stem}-{}.{ending}", digest.get(..12)?),
            media: media(ending),
            octets: file.data,
            name: name.into_owned(),
        })
    };
    Files::iter().filter_map(read).collect()
});

/// Where a file of `src/web/assets` is served.
pub(crate) fn path(name: &str) -> &'static str {
    let found = ALL.iter().find(|asset| asset.name == name);
    found.map_or("/assets/none", |asset| &asset.path)
}

/// `GET /assets/{file}`
pub(crate) async fn serve(Path(file): Path<String>) -> Response {
    let named = |asset: &&Asset| asset.path.strip_prefix("/assets/") == Some(file.as_str());
    let Some(asset) = ALL.iter().find(named) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.media)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    (headers, asset.octets.clone()).into_response()
}

pub(crate) fn media(ending: &str) -> &'static str {
    match ending {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
