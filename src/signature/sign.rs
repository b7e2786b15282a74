//! The reference device's side: signs a request so that [`verify`](super::verify) accepts it.
//!
//! Source: RFC 9421 s3.1, RFC 9530 s2.
//!
//! Method, path, query and content are always covered. `@authority` only on request, because proxies
//! rewrite the Host field; where they do not, covering it keeps a server that is not the one the
//! device meant from passing the request on to the one it impersonates.

use data_encoding::{BASE64, BASE64URL_NOPAD};

use crate::signature::key::SigningKey;
use crate::signature::request::{Component, RequestView};
use crate::signature::{LABEL, SignatureError, TAG, digest, request};
use crate::time::UnixTime;

/// The values of the fields that are added to the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedFields {
    /// `Content-Digest`; none for a request without a body.
    pub content_digest: Option<String>,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

/// Signs a request at the time `created` (whole seconds count). `nonce` is 128 unpredictable
/// bits, new ones for each request, also when it is sent again. `also` names what is covered besides:
/// `@authority`, and fields of the request, in lower case, on whose value the meaning depends. A
/// Content-Digest that the request has already is replaced.
///
/// # Errors
/// `Malformed` for a part of the request that cannot be signed, a field that is covered twice or a
/// name not in lower case, `MissingComponent` for a field in `also` that the request does not
/// have.
pub fn sign(
    request: &RequestView<'_>,
    key: &SigningKey,
    created: UnixTime,
    nonce: &[u8; 16],
    also: &[&str],
) -> Result<SignedFields, SignatureError> {
    let content_digest = (!request.body.is_empty()).then(|| digest::of(request.body));
    let mut headers = request.headers.to_vec();
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case(digest::FIELD));
    let also = also.iter().map(|name| Component::parse(name));
    let also = also.collect::<Result<Vec<_>, _>>()?;
    let (fields, derived): (Vec<_>, Vec<_>) = also
        .into_iter()
        .partition(|component| matches!(component, Component::Field(_)));
    let mut components = vec![Component::Method];
    components.extend(derived);
    components.push(Component::Path);
    if request.has_query() {
        components.push(Component::Query);
    }
    if let Some(value) = &content_digest {
        headers.push((digest::FIELD, value.as_bytes()));
        components.push(Component::Field(digest::FIELD.to_owned()));
    }
    components.extend(fields);
    let twice = |(index, one)| components.iter().skip(index + 1).any(|other| other == one);
    if components.iter().enumerate().any(twice) {
        return Err(SignatureError::Malformed);
    }

    let created = created.as_secs();
    let keyid = key.public().thumbprint();
    let algorithm = key.public().algorithm().as_str();
    let nonce = BASE64URL_NOPAD.encode(nonce);
    let parameters = format!(
        ";created={created};keyid=\"{keyid}\";nonce=\"{nonce}\";alg=\"{algorithm}\";tag=\"{TAG}\""
    );
    let params = request::signature_params(&components, &parameters);
    let view = request.with_headers(&headers);
    let base = request::signature_base(&view, &components, &params)?;
    let signature = BASE64.encode(&key.sign(base.as_bytes()));
    Ok(SignedFields {
        content_digest,
        signature_input: format!("{LABEL}={params}"),
        signature: format!("{LABEL}=:{signature}:"),
    })
}
