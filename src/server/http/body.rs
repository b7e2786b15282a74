//! Request bodies and queries, read strictly.
//!
//! Threats T20: huge, slow and deeply nested bodies. Length is refused before reading
//! where it is announced, while reading where it is not; time is bounded; depth is measured before
//! the parser recurses. Errors say where and what is expected, never what was sent (threats T29).

use axum::body::Body;
use axum::http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use zeroize::Zeroizing;

use crate::api::NO_CLIENT_IP;
use crate::server::http::App;
use crate::server::http::error::Failure;

/// A query.
pub(crate) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    axum::extract::Query::try_from_uri(uri)
        .map(|query| query.0)
        .map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let what = without_values(&cause.unwrap_or_default());
            Failure::malformed(format!("query: {what}"))
        })
}

/// Whether a body is JSON by its own account.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = media.and_then(|value| value.split(';').next());
    media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

/// The octets of a body, at most so many, within the limit on time. They may hold passwords, codes and
/// keys: they are overwritten after use, and the pieces they came in by the allocator.
pub(crate) async fn read(
    body: Body,
    most: usize,
    app: &App,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let expected = body.size_hint().lower();
    if expected > most as u64 {
        return Err(Failure::TOO_LARGE);
    }
    let whole = gathered(
        Limited::new(body, most),
        usize::try_from(expected).unwrap_or(most),
    );
    let whole = tokio::time::timeout(app.limits().request_timeout, whole).await;
    match whole.map_err(|_| Failure::SLOW)? {
        Ok(whole) => Ok(whole),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TOO_LARGE),
        Err(_) => Err(Failure::malformed("the body ends early")),
    }
}

async fn gathered(
    mut body: Limited<Body>,
    expected: usize,
) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(expected));
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        if whole.capacity() - whole.len() < piece.len() {
            // Moved, not grown: growing leaves a copy behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * (whole.len() + piece.len())));
            larger.extend_from_slice(&whole);
            whole = larger;
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// Reads JSON within the limit on depth. Complaints never repeat what was sent.
pub(crate) fn parse<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Failure> {
    if depth(octets) > DEPTH {
        return Err(Failure::malformed("the body is nested deeper than 16"));
    }
    // A list would fill the fields in their order, which is never meant.
    let first = octets.iter().find(|octet| !octet.is_ascii_whitespace());
    if first != Some(&b'{') && serde_json::from_slice::<IgnoredAny>(octets).is_ok() {
        return Err(Failure::malformed(
            "the body is a JSON object: {\"name\": ...}",
        ));
    }
    serde_json::from_slice(octets).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => without_values(&error.to_string()),
            _ => "not JSON".to_owned(),
        };
        let (line, column) = (error.line(), error.column());
        Failure::malformed(if line == 0 {
            what
        } else {
            format!("line {line} column {column}: {what}")
        })
    })
}

/// How deep arrays and objects are nested; brackets inside strings do not count.
fn depth(octets: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for octet in octets {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A parser's complaint without what it quotes from the input: only the parts that are ours stay.
fn without_values(message: &str) -> String {
    // The last `expected` is the parser's own: nothing that was sent follows it.
    let expected = message
        .rsplit_once(", expected ")
        .map(|(_, expected)| expected);
    let expected = expected.map(|text| plain(text.split(" at line ").next().unwrap_or(text)));
    let with = |what: &str| {
        expected.map_or_else(
            || what.to_owned(),
            |expected| format!("{what}; expected {expected}"),
        )
    };
    if message.starts_with(NO_CLIENT_IP) {
        return NO_CLIENT_IP.to_owned();
    }
    if let Some(field) = unknown_field(message) {
        return with(&format!("there is no `{field}`"));
    }
    for (prefix, what) in [
        ("unknown field", "an unknown key"),
        ("unknown variant", "an unknown word"),
        ("invalid type", "a value of the wrong type"),
        ("invalid value", "a value out of range"),
        ("invalid length", "a list of the wrong length"),
    ] {
        if message.starts_with(prefix) {
            return with(what);
        }
    }
    for ours in ["missing field ", "duplicate field "] {
        if message.starts_with(ours) {
            return message.split(" at line ").next().unwrap_or(ours).to_owned();
        }
    }
    "a value that cannot be read".to_owned()
}

/// The name of an unknown field, when it looks like the name of a field: what else stands there may
/// be a secret in the wrong place.
fn unknown_field(message: &str) -> Option<&str> {
    // A query's parser says first where; nothing that was sent may stand in for ours.
    let after = message.split_once(": ").map_or(message, |(_, after)| after);
    let ours = [message, after];
    let rest = ours
        .iter()
        .find_map(|text| text.strip_prefix("unknown field `"))?;
    let (field, _) = rest.split_once('`')?;
    let named = |octet: u8| octet.is_ascii_lowercase() || octet == b'_';
    ((1..=24).contains(&field.len()) && field.bytes().all(named)).then_some(field)
}

/// What a parser expects, in words of JSON instead of Rust's.
fn plain(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "a list",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        other if other.starts_with("struct ") || other.contains(" enum ") => "an object",
        other => other,
    }
}

/// Longest body of an import: 500 rows of 2 KiB.
pub(crate) const LARGE: usize = 1024 * 1024;
/// Deepest nesting of a body; ours need three. An attacker's recursion ends here.
const DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::VerifyRequest;

    #[test]
    fn depth_ignores_strings_and_survives_garbage() {
        assert_eq!(depth(br#"{"a":[1,{"b":"[[[[\"{{{{"}]}"#), 3);
        assert_eq!(depth(b"]]]]{\"\\"), 1);
        assert_eq!(depth(&b"[".repeat(16_384)), 16_384);
    }

    #[test]
    fn complaints_never_repeat_what_was_sent() {
        for body in [
            r#"{"user":"a","otp":31337007}"#,
            r#"{"user":"a","otp":["31337007"]}"#,
            r#"{"user":"a","31337007":1}"#,
            r#"{"user":"a","31337007, expected 31337007":1}"#,
            r#"{"user":"a","client_ip":"31337007"}"#,
            r#"{"user":"a","context":"x, expected 31337007"}"#,
            r#"{"user":"a","context":"unknown field `hunter`, expected 31337007"}"#,
            r#"{"user":"a","context":{"31337007":"1","31337007":"2"}}"#,
            r#"{"user":"a","otp":"31337007""#,
            r#"{"user":"a","otp":"31337007"} 31337007"#,
            r#"{"otp":"31337007"}"#,
        ] {
            let Err(failure) = parse::<VerifyRequest>(body.as_bytes()) else {
                panic!("{body} was taken");
            };
            let detail = failure.detail();
            let repeats = detail.contains("31337007") || detail.contains("hunter");
            assert!(!repeats, "{body}: {detail}");
        }
    }

    #[test]
    fn a_key_of_the_senders_own_is_there_once() {
        let read = |body: &str| {
            let read = parse::<VerifyRequest>(body.as_bytes());
            read.map(|request| request.context.len())
        };
        assert_eq!(
            read(r#"{"user":"a","context":{"a":"1","b":"1"}}"#).ok(),
            Some(2)
        );
        assert_eq!(read(r#"{"user":"a","context":null}"#).ok(), Some(0));
        assert_eq!(read(r#"{"user":"a"}"#).ok(), Some(0));
        let twice = read(r#"{"user":"a","context":{"a":"1","a":"2"}}"#);
        let Err(failure) = twice else {
            panic!("taken");
        };
        let detail = failure.detail();
        assert!(
            detail.ends_with(": duplicate field in an object"),
            "{detail}"
        );
        let list = read(r#"{"user":"a","context":["1"]}"#);
        let Err(failure) = list else {
            panic!("taken");
        };
        assert!(
            failure.detail().ends_with("expected an object"),
            "{failure:?}"
        );
    }

    #[test]
    fn complaints_say_where_and_what() {
        let Err(failure) = parse::<VerifyRequest>(br#"{"user":"a","otp":1}"#) else {
            panic!("taken");
        };
        assert_eq!(
            failure.detail(),
            "line 1 column 19: a value of the wrong type; expected a string"
        );
    }
}
