//! Answers as JSON.
//!
//! Threats T30: user names in the audit are what an attacker typed. JSON escapes C0
//! controls; we escape everything else that moves a cursor or turns text around as well, so that
//! an answer can be shown on a terminal or in a log as it is.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let Ok(text) = text(value) else {
        // Only maps without text for keys cannot be written, and there are none.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let media = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// JSON text on one line, harmless on a terminal.
pub(crate) fn text(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let plain = serde_json::to_string(value)?;
    if plain.is_ascii() && !plain.contains('\x7f') {
        return Ok(plain);
    }
    let mut escaped = String::with_capacity(plain.len() + 16);
    for character in plain.chars() {
        if is_unsafe(character) {
            // Structure is ASCII: such a character is inside a string. None is above U+FFFF.
            use std::fmt::Write as _;
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Ok(escaped)
}

const fn is_unsafe(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_moves_a_cursor_is_escaped_and_reads_back() {
        let name = "a\u{1b}[2J\u{9b}31m\u{202e}gnp\u{7f}\r\n\u{c774}";
        let text = super::text(&name).unwrap();
        assert!(
            !text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}', '\r', '\n']),
            "{text:?}"
        );
        assert!(text.contains('\u{c774}'));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
