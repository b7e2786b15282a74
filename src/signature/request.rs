//! A request as it is signed: its parts, and their values.
//!
//! Source: RFC 9421 s2.1 (fields), s2.2 (derived components), s2.5 (signature base).
//!
//! Invariant: no value contains a line break or anything but printable ASCII and tabs, so that a
//! value cannot pretend to be the next line of the signature base (RFC 9421 s7.5.4 and 7.5.6).
//! The authority cannot contain what begins a path, nor the path what begins a query: in
//! `@target-uri`, where they are joined, the end of one could otherwise pass for the start of the
//! next.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::signature::{SignatureError, fields};

/// How the request came, as its sender sees it: behind a proxy that ends TLS it is `Https`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

/// Names and values of header fields, in the order in which they came.
pub type Headers<'a> = [(&'a str, &'a [u8])];

/// What a signature can cover.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    method: &'a str,
    scheme: Scheme,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// The header fields; names in any case.
    pub headers: &'a Headers<'a>,
    /// The content.
    pub body: &'a [u8],
}

impl<'a> RequestView<'a> {
    /// A view of a request. `authority` is the Host field (or `:authority`), `target` the path
    /// with its query as in the request line. What cannot be signed is refused when it is covered.
    pub fn new(
        method: &'a str,
        scheme: Scheme,
        authority: &'a str,
        target: &'a str,
        headers: &'a Headers<'a>,
        body: &'a [u8],
    ) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Self {
            method,
            scheme,
            authority,
            path,
            query,
            headers,
            body,
        }
    }

    /// Whether the target has a query, if only an empty one.
    pub const fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// The same request with other header fields.
    pub(super) const fn with_headers<'b>(&self, headers: &'b Headers<'b>) -> RequestView<'b>
    where
        'a: 'b,
    {
        RequestView { headers, ..*self }
    }

    /// The value of a component, and whether the request has it at all.
    fn value(&self, component: &Component) -> Result<Cow<'a, str>, SignatureError> {
        match component {
            Component::Method => {
                let valid = !self.method.is_empty() && self.method.bytes().all(fields::is_tchar);
                valid
                    .then_some(Cow::Borrowed(self.method))
                    .ok_or(SignatureError::Malformed)
            }
            Component::Authority => self.authority().map(Cow::Owned),
            Component::Path => self.path().map(Cow::Borrowed),
            Component::Query => Ok(Cow::Owned(format!(
                "?{}",
                self.query()?.unwrap_or_default()
            ))),
            Component::TargetUri => self.target_uri().map(Cow::Owned),
            Component::Field(name) => field(self.headers, name)?
                .map(Cow::Owned)
                .ok_or(SignatureError::MissingComponent),
        }
    }

    /// As it was sent.
    fn host(&self) -> Result<&'a str, SignatureError> {
        let valid = |octet: u8| octet.is_ascii_graphic() && !b"/?#@\\\"<>^`{|}".contains(&octet);
        (!self.authority.is_empty() && self.authority.bytes().all(valid))
            .then_some(self.authority)
            .ok_or(SignatureError::Malformed)
    }

    /// In lower case and without the scheme's own port (RFC 9421 s2.2.3).
    fn authority(&self) -> Result<String, SignatureError> {
        let lower = self.host()?.to_ascii_lowercase();
        let host = match lower.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if port.is_empty() || port == self.scheme.default_port() => host,
            _ => &lower,
        };
        Ok(host.to_owned())
    }

    /// Never empty (RFC 9421 s2.2.6).
    fn path(&self) -> Result<&'a str, SignatureError> {
        let valid = |octet: u8| octet.is_ascii_graphic() && octet != b'#';
        match self.path {
            "" => Ok("/"),
            path if path.starts_with('/') && path.bytes().all(valid) => Ok(path),
            _ => Err(SignatureError::Malformed),
        }
    }

    fn query(&self) -> Result<Option<&'a str>, SignatureError> {
        let valid = |octet: u8| octet.is_ascii_graphic() && octet != b'#';
        match self.query {
            Some(query) if !query.bytes().all(valid) => Err(SignatureError::Malformed),
            query => Ok(query),
        }
    }

    /// Put together from what was sent, not normalised (RFC 9421 s2.2.2, RFC 9110 s7.1).
    fn target_uri(&self) -> Result<String, SignatureError> {
        let scheme = self.scheme.as_str();
        let mut uri = format!("{scheme}://{}{}", self.host()?, self.path()?);
        if let Some(query) = self.query()? {
            uri.push('?');
            uri.push_str(query);
        }
        Ok(uri)
    }
}

/// All values of a field, trimmed and joined (RFC 9421 s2.1); `None` when the request has none.
pub(super) fn field(headers: &Headers<'_>, name: &str) -> Result<Option<String>, SignatureError> {
    let mut joined: Option<String> = None;
    for (_, value) in headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
        let printable = |octet: &u8| fields::is_printable(*octet) || *octet == b'\t';
        let text = std::str::from_utf8(value).map_err(|_| SignatureError::Malformed)?;
        if !value.iter().all(printable) {
            return Err(SignatureError::Malformed);
        }
        let text = text.trim_matches([' ', '\t']);
        match &mut joined {
            Some(joined) => {
                joined.push_str(", ");
                joined.push_str(text);
            }
            None => joined = Some(text.to_owned()),
        }
    }
    Ok(joined)
}

/// A part of a request that a signature covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Component {
    Method,
    Authority,
    Path,
    Query,
    TargetUri,
    /// A header field; its name is in lower case.
    Field(String),
}

impl Component {
    /// The component with a given name.
    ///
    /// # Errors
    /// `Unsupported` for a derived component that is not listed here, `Malformed` for what is no
    /// name of a field in lower case.
    pub(super) fn parse(name: &str) -> Result<Self, SignatureError> {
        let valid = |octet: u8| fields::is_tchar(octet) && !octet.is_ascii_uppercase();
        match name {
            "@method" => Ok(Self::Method),
            "@authority" => Ok(Self::Authority),
            "@path" => Ok(Self::Path),
            "@query" => Ok(Self::Query),
            "@target-uri" => Ok(Self::TargetUri),
            _ if name.starts_with('@') => Err(SignatureError::Unsupported),
            _ if name.is_empty() || !name.bytes().all(valid) => Err(SignatureError::Malformed),
            _ => Ok(Self::Field(name.to_owned())),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Method => "@method",
            Self::Authority => "@authority",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::TargetUri => "@target-uri",
            Self::Field(name) => name,
        }
    }
}

/// The inner list of components and the parameters after it, as RFC 9421 s2.3 writes them.
pub(super) fn signature_params(components: &[Component], parameters: &str) -> String {
    let mut text = "(".to_owned();
    for (index, component) in components.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        fields::write_string(&mut text, component.name());
    }
    text.push(')');
    text.push_str(parameters);
    text
}

/// What is signed (RFC 9421 s2.5). `params` is the value of `@signature-params`.
///
/// # Errors
/// `MissingComponent` for a field that the request does not have, `Malformed` for a value that
/// cannot be signed.
pub(super) fn signature_base(
    request: &RequestView<'_>,
    components: &[Component],
    params: &str,
) -> Result<String, SignatureError> {
    let mut base = String::new();
    for component in components {
        let value = request.value(component)?;
        // Writing to a string does not fail.
        let _ = writeln!(base, "\"{}\": {value}", component.name());
    }
    let _ = write!(base, "\"@signature-params\": {params}");
    Ok(base)
}
