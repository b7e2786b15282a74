//! HTTP message signatures: the standards' own examples.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::BASE64;
use oncegate::secret::{Key256, SecretString};
use oncegate::signature::key::{KeyAlgorithm, PublicKey, SigningKey};
use oncegate::signature::request::{RequestView, Scheme};
use oncegate::signature::verify::Requirements;
use oncegate::signature::{SignatureError, digest, verify};
use oncegate::time::UnixTime;

use crate::support::vectors;

fn base64(text: &str) -> Vec<u8> {
    BASE64.decode(text.as_bytes()).expect("base64")
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).expect("text")
}

/// `test-request` of RFC 9421 appendix B.2, with other fields after its own.
fn with_test_request<T>(more: &[(&str, &[u8])], then: impl FnOnce(&RequestView<'_>) -> T) -> T {
    let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVL\
                  vRwEmTHWXvJwew==:";
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("Host", b"example.com"),
        ("Date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
        ("Content-Type", b"application/json"),
        ("Content-Digest", sha512.as_bytes()),
        ("Content-Length", b"18"),
    ];
    headers.extend_from_slice(more);
    then(&RequestView::new(
        "POST",
        Scheme::Https,
        "example.com",
        "/foo?param=Value&Pet=dog",
        &headers,
        br#"{"hello": "world"}"#,
    ))
}

#[test]
fn rfc9421_appendix_b_signature_bases() {
    let rows = vectors::load::<3>("rfc9421-b-base.txt", "signature-base");
    assert_eq!(rows.len(), 4);
    for [label, input, base] in rows {
        let signature = format!("{label}=:AAAA:");
        let input = base64(&input);
        let more: [(&str, &[u8]); 2] = [
            ("Signature-Input", &input),
            ("Signature", signature.as_bytes()),
        ];
        with_test_request(&more, |request| {
            let claimed = verify::claimed(request.headers).expect(&label);
            let ours = claimed.signature_base(request).expect(&label);
            assert_eq!(ours, text(base64(&base)), "{label}");
        });
    }
}

#[test]
fn rfc9421_appendix_b_signatures() {
    let rows = vectors::load::<5>("rfc9421-b-signature.txt", "signature-verifies");
    assert_eq!(rows.len(), 2);
    for [label, algorithm, der, base, signature] in rows {
        let key = PublicKey::parse_der(&base64(&der)).expect(&label);
        assert_eq!(key.algorithm().as_str(), algorithm);
        assert_eq!(key.der(), Ok(base64(&der)));
        assert_eq!(
            PublicKey::parse_pem(&key.pem().expect("PEM")),
            Ok(key.clone())
        );
        let (base, signature) = (base64(&base), base64(&signature));
        assert_eq!(key.verify(&base, &signature), Ok(()), "{label}");
        for bit in 0..signature.len() * 8 {
            let mut wrong = signature.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                key.verify(&base, &wrong),
                Err(SignatureError::BadSignature),
                "{label} {bit}"
            );
        }
    }
}

#[test]
fn rfc9421_appendix_b26_is_made() {
    let rows = vectors::load::<4>("rfc9421-b-private.txt", "signature-made");
    for [label, der, base, signature] in rows {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let key = SigningKey::parse_pem(&SecretString::from(pem.as_str())).expect(&label);
        assert_eq!(key.pem().expect("PEM").expose(), pem);
        assert_eq!(
            key.sign(&base64(&base)).to_vec(),
            base64(&signature),
            "{label}"
        );
    }
}

/// The example's signature is right, and still no request of ours: it can be replayed for ever.
#[test]
fn rfc9421_appendix_b26_is_not_enough_for_us() {
    let [_, _, der, _, signature] =
        vectors::load::<5>("rfc9421-b-signature.txt", "signature-verifies")
            .pop()
            .expect("B.2.6");
    let [label, input, _] = vectors::load::<3>("rfc9421-b-base.txt", "signature-base")
        .pop()
        .expect("B.2.6");
    let (input, signature) = (base64(&input), format!("{label}=:{signature}:"));
    let more: [(&str, &[u8]); 2] = [
        ("Signature-Input", &input),
        ("Signature", signature.as_bytes()),
    ];
    let key = PublicKey::parse_der(&base64(&der)).expect("a key");
    with_test_request(&more, |request| {
        let claimed = verify::claimed(request.headers).expect("well formed");
        assert_eq!(claimed.keyid(), "test-key-ed25519");
        let base = claimed.signature_base(request).expect("a base");
        assert_eq!(
            key.verify(base.as_bytes(), &base64(&signature[9..97])),
            Ok(())
        );
        let now = UnixTime::from_secs(1_618_884_473);
        let verified = claimed.verify(request, &key, now, &Requirements::DEVICE);
        assert_eq!(verified, Err(SignatureError::MissingParameter));
    });
}

/// Keys, and signatures that are the same each time.
fn deterministic(file: &str, expect: &str, algorithm: KeyAlgorithm) -> usize {
    let rows = vectors::load::<4>(file, expect);
    for [secret, public, message, signature] in &rows {
        let message = vectors::hex(message.trim_matches('-'));
        let secret: [u8; 32] = vectors::hex(secret).try_into().expect("32 octets");
        let key = SigningKey::from_random(algorithm, &Key256::new(secret)).expect("a key");
        assert_eq!(key.public().encode(), vectors::hex(public));
        assert_eq!(key.sign(&message).to_vec(), vectors::hex(signature));
        let public = PublicKey::parse(algorithm, &vectors::hex(public)).expect("a key");
        assert_eq!(public, key.public());
        assert_eq!(public.verify(&message, &vectors::hex(signature)), Ok(()));
    }
    rows.len()
}

#[test]
fn rfc8032_section_7_1() {
    let algorithm = KeyAlgorithm::Ed25519;
    assert_eq!(
        deterministic("rfc8032-7.1.txt", "ed25519-signature", algorithm),
        4
    );
}

#[test]
fn rfc6979_appendix_a_2_5() {
    let algorithm = KeyAlgorithm::EcdsaP256;
    assert_eq!(
        deterministic("rfc6979-a.2.5.txt", "ecdsa-p256-signature", algorithm),
        2
    );
}

#[test]
fn rfc9530_digests() {
    let rows = vectors::load::<2>("rfc9530-digests.txt", "content-digest");
    assert_eq!(rows.len(), 6);
    for [body, field] in rows {
        let mut body = base64(body.trim_matches('-'));
        assert_eq!(digest::check(&field, &body), Ok(()));
        if field.starts_with("sha-256") {
            assert_eq!(digest::of(&body), field);
        }
        body.push(b' ');
        assert_eq!(
            digest::check(&field, &body),
            Err(SignatureError::DigestMismatch)
        );
    }
}

#[test]
fn rfc7638_thumbprints() {
    let rows = vectors::load::<3>("rfc7638-thumbprints.txt", "thumbprint");
    assert_eq!(rows.len(), 2);
    for [algorithm, public, thumbprint] in rows {
        let algorithm = algorithm.parse().expect("an algorithm");
        let key = PublicKey::parse_base64url(algorithm, &public).expect("a key");
        assert_eq!(key.base64url(), public);
        assert_eq!(key.thumbprint(), thumbprint);
    }
}

/// `tests/corpus/http_signature`: malformed and refused requests by their fault, and some that are
/// not. After the header and an empty line: Signature-Input, Signature, Content-Digest, the target
/// and the body, each but the last ended by a line feed, as the fuzz target reads them.
#[test]
fn the_corpus_meets_its_fate() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/http_signature");
    let key = SigningKey::from_random(KeyAlgorithm::Ed25519, &Key256::new([7; 32]));
    let key = key.expect("a key").public();
    let now = UnixTime::from_secs(1_618_884_473);
    let mut met = BTreeSet::new();
    for entry in std::fs::read_dir(directory).expect("the corpus") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let (header, parts) = text.split_once("\n\n").expect("a header");
        let (about, expected) = header.split_once("\nexpect: ").expect("an expectation");
        assert!(about.starts_with("about: "), "{}", path.display());
        let parts: Vec<&str> = parts.splitn(5, '\n').collect();
        let [input, signature, digest, target, body] = parts[..] else {
            panic!("{}: not five parts", path.display());
        };
        let headers: [(&str, &[u8]); 3] = [
            ("Signature-Input", input.as_bytes()),
            ("Signature", signature.as_bytes()),
            ("Content-Digest", digest.as_bytes()),
        ];
        let (https, host) = (Scheme::Https, "otp.example.com");
        let request = RequestView::new("POST", https, host, target, &headers, body.as_bytes());
        let fate = verify::claimed(&headers)
            .and_then(|claimed| claimed.verify(&request, &key, now, &Requirements::DEVICE))
            .map_or_else(SignatureError::as_str, |_| "accepted");
        assert_eq!(fate, expected, "{}", path.display());
        met.insert(fate);
    }
    for error in SignatureError::ALL {
        assert!(
            met.contains(error.as_str()),
            "{error:?} is not in the corpus"
        );
    }
}
