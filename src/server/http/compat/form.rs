//! Parameters of such a request: of the query, and of a body in form or JSON.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::api::Entries;
use crate::config::HTTP_BODY;
use crate::secret::SecretString;
use crate::server::http::error::Failure;
use crate::server::http::{App, body};

/// What a request says. Values may be secrets: all are overwritten.
#[derive(Clone)]
pub(super) struct Form {
    values: Vec<(String, SecretString)>,
    /// The product of its User-Agent, in small letters.
    agent: String,
}

impl Form {
    pub(super) async fn read(
        app: &Arc<App>,
        parts: &Parts,
        body: Body,
        double_decode: Option<bool>,
    ) -> Result<Self, Failure> {
        let agent = parts.headers.get(header::USER_AGENT);
        let agent = agent
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default();
        let agent = agent.split(['/', ' ']).next().unwrap_or_default();
        let mut form = Self {
            values: Vec::new(),
            agent: agent.to_ascii_lowercase(),
        };
        let octets = body::read(body, HTTP_BODY, app).await?;
        if body::is_json(&parts.headers) {
            form.json(&octets)?;
        } else {
            form.encoded(&octets)?;
        }
        form.encoded(parts.uri.query().unwrap_or_default().as_bytes())?;
        if double_decode.unwrap_or_else(|| DOUBLE.contains(&form.agent.as_str())) {
            for (_, value) in &mut form.values {
                *value = decoded(value);
            }
        }
        Ok(form)
    }

    fn encoded(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(octets)
            .map_err(|_| Failure::malformed("the form is not percent-encoded UTF-8"))?;
        for (name, value) in pairs {
            self.add(name, SecretString::new(value))?;
        }
        Ok(())
    }

    fn json(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let Entries(values) = body::parse::<Entries<Text>>(octets)?;
        for (name, value) in values {
            self.add(name, value.0)?;
        }
        Ok(())
    }

    /// Of a value that is there twice no one knows which one counts.
    fn add(&mut self, name: String, value: SecretString) -> Result<(), Failure> {
        if self.values.iter().any(|(known, _)| *known == name) {
            return Err(Failure::malformed("a parameter is there twice"));
        }
        self.values.push((name, value));
        Ok(())
    }

    /// All of them, in the order in which they came.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.values.iter();
        values.map(|(name, value)| (name.as_str(), value.expose()))
    }

    pub(super) fn secret(&self, name: &str) -> Option<&SecretString> {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.secret(name).map(SecretString::expose)
    }

    pub(super) fn is_agent(&self, product: &str) -> bool {
        self.agent == product
    }
}

/// A value of a JSON body: a text, or a number or a flag, which a form would have as text too.
struct Text(SecretString);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Value {
            Text(String),
            Number(u64),
            Flag(bool),
        }
        let text = match Value::deserialize(deserializer)? {
            Value::Text(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
        };
        Ok(Self(SecretString::new(text)))
    }
}

/// The value, decoded once more; as it is where that gives no text.
fn decoded(value: &SecretString) -> SecretString {
    match percent_decode_str(value.expose()).decode_utf8() {
        Ok(Cow::Owned(text)) => {
            let text = Zeroizing::new(text);
            SecretString::from(text.as_str())
        }
        _ => SecretString::from(value.expose()),
    }
}

/// Products whose clients encode their values twice (privacyidea/privacyidea#2985).
const DOUBLE: [&str; 3] = [
    "privacyidea-keycloak",
    "privacyidea-java-client",
    "freeradius",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_decoded_once_more_where_it_is_text_then() {
        for (once, twice) in [
            ("a%20b+c%2541%C3%A9", "a b+c%41\u{e9}"),
            ("100%", "100%"),
            ("%ff", "%ff"),
            ("plain", "plain"),
        ] {
            assert_eq!(decoded(&SecretString::from(once)).expose(), twice, "{once}");
        }
    }
}
