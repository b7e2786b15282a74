//! Any fields: refused, or what they say of themselves is in order; what was signed is believed,
//! and under another Signature-Input only when that says the same.
//!
//! The input is Signature-Input, Signature, Content-Digest, the target and the body, each ended by
//! a line feed but the last.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oncegate::secret::Key256;
use oncegate::signature::key::{KeyAlgorithm, PublicKey, SigningKey};
use oncegate::signature::request::{Headers, RequestView, Scheme};
use oncegate::signature::verify::Requirements;
use oncegate::signature::{digest, sign, verify};
use oncegate::time::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(1_618_884_473);

fn view<'a>(target: &'a str, headers: &'a Headers<'a>, body: &'a [u8]) -> RequestView<'a> {
    RequestView::new(
        "POST",
        Scheme::Https,
        "otp.example.com",
        target,
        headers,
        body,
    )
}

fn base(request: &RequestView<'_>) -> String {
    let claimed = verify::claimed(request.headers).unwrap();
    claimed.signature_base(request).unwrap()
}

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(5, |octet| *octet == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (signature_input, signature, content_digest) = (next(), next(), next());
    let (target, body) = (String::from_utf8_lossy(next()), next());
    let key = SigningKey::from_random(KeyAlgorithm::Ed25519, &Key256::new([7; 32])).unwrap();

    let headers: [(&str, &[u8]); 3] = [
        ("signature-input", signature_input),
        ("signature", signature),
        ("content-digest", content_digest),
    ];
    let request = view(&target, &headers, body);
    if let Ok(claimed) = verify::claimed(&headers) {
        assert!((1..=64).contains(&claimed.keyid().len()));
        if let Ok(base) = claimed.signature_base(&request) {
            let printable = |octet: u8| matches!(octet, b' '..=b'~' | b'\t' | b'\n');
            assert!(base.bytes().all(printable), "a line that is not ours");
            let names = base.lines().filter(|line| line.starts_with('"'));
            assert_eq!(base.lines().count(), names.count());
        }
        let verified = claimed.verify(&request, &key.public(), NOW, &Requirements::DEVICE);
        if let Ok(verified) = verified {
            assert_eq!(verified.keyid, key.public().thumbprint());
            assert!((16..=64).contains(&verified.nonce.len()));
        }
    }
    for algorithm in KeyAlgorithm::ALL {
        if let Ok(public) = PublicKey::parse(algorithm, body) {
            assert_eq!(PublicKey::parse(algorithm, &public.encode()), Ok(public));
        }
    }
    if let Ok(public) = PublicKey::parse_der(body) {
        assert_eq!(PublicKey::parse_der(&public.der().unwrap()), Ok(public));
    }
    assert_eq!(digest::check(&digest::of(body), body), Ok(()));

    let Ok(signed) = sign::sign(&view(&target, &[], body), &key, NOW, &[0; 16], &[]) else {
        return;
    };
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("Signature-Input", signed.signature_input.as_bytes()),
        ("Signature", signed.signature.as_bytes()),
    ];
    if let Some(value) = &signed.content_digest {
        headers.push(("Content-Digest", value.as_bytes()));
    }
    let verify = |headers: &[(&str, &[u8])]| {
        verify::claimed(headers)?.verify(
            &view(&target, headers, body),
            &key.public(),
            NOW,
            &Requirements::DEVICE,
        )
    };
    assert!(verify(&headers).is_ok(), "signed and not believed");
    headers[0].1 = signature_input;
    if verify(&headers).is_ok() {
        // Written another way, with other spaces or beside another signature: the same is signed.
        let theirs = base(&view(&target, &headers, body));
        headers[0].1 = signed.signature_input.as_bytes();
        let ours = base(&view(&target, &headers, body));
        assert_eq!(ours, theirs);
    }
});
