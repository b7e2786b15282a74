//! Language and theme: kept by the browser.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;

use crate::api::AddToken;
use crate::api::call::Call as _;
use crate::model::message::Language;
use crate::web::fields::Sent;
use crate::web::printed::noted;
use crate::web::visit::{LANGUAGE, Signed, THEME, Visit};
use crate::web::{Desk, answer};

/// `POST /console/look`
pub(in crate::web) async fn take(Sent(visit, fields): Sent<Visit>) -> Response {
    let mut response = answer::see_other(own_path(fields.get("back")));
    let language = fields.get("language");
    let language = language.and_then(|word| word.parse::<Language>().ok());
    let language = language.map(|language| (LANGUAGE, language.as_str()));
    let theme = fields.get("theme");
    let theme = theme.and_then(|word| {
        ["auto", "light", "dark"]
            .into_iter()
            .find(|one| *one == word)
    });
    let theme = theme.map(|theme| (THEME, theme));
    for (name, value) in language.into_iter().chain(theme) {
        if let Some(line) = visit.choice_cookie(name, value) {
            response.headers_mut().append(header::SET_COOKIE, line);
        }
    }
    response
}

/// `POST /console/printed`
pub(super) async fn printed(
    State(desk): State<Desk>,
    Sent(signed, fields): Sent<Signed>,
) -> StatusCode {
    let own = fields.get("serial").and_then(|text| text.parse().ok());
    let own = own.map(|serial| desk.app.core().store().token(&serial));
    let is_own = matches!(own, Some(Ok(Some((token, _)))) if token.user == signed.person.user);
    if !is_own && !signed.person.may(AddToken::OPERATION.access) {
        return StatusCode::FORBIDDEN;
    }
    match signed.by(&desk) {
        Ok(by) => noted(&desk, &fields, by).await,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A path of this server that a form names; another's address is not followed.
pub(super) fn own_path(path: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        let rest = path.strip_prefix('/').unwrap_or("/");
        !rest.starts_with(['/', '\\']) && path.bytes().all(|octet| octet.is_ascii_graphic())
    };
    path.filter(is_own).unwrap_or("/console")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_followed() {
        for path in ["/console/users?q=a", "/app/"] {
            assert_eq!(own_path(Some(path)), path);
        }
        for path in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "x",
            "/a\r\nb: c",
        ] {
            assert_eq!(own_path(Some(path)), "/console", "{path:?}");
        }
    }
}
