//! Each defence, alone: the signature is right, and still it is refused.

use super::*;

/// Signs a request so that `Signature-Input` is `oncegate={params}` and nothing else is odd.
fn crafted(sent: Sent, key: &SigningKey, params: &str) -> Sent {
    let mut sent = sent;
    sent.put("Signature-Input", &format!("oncegate={params}"));
    sent.put("Signature", "oncegate=:AAAA:");
    // A base that cannot be built is refused before the signature is looked at.
    let base = sent.with(|request| {
        let claimed = verify::claimed(request.headers).ok()?;
        claimed.signature_base(request).ok()
    });
    let input = sent.get("signature-input");
    sent.signed_by_hand(key, &input, &base.unwrap_or_default())
}

fn bare() -> Sent {
    Sent {
        target: "/a".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        ..Sent::post()
    }
}

/// What [`crafted`] of the least that is accepted, with other parameters, comes to.
fn with_parameters(parameters: &str) -> Result<Verified, SignatureError> {
    let key = ed25519();
    let keyid = key.public().thumbprint();
    let parameters = parameters.replace("KEY", &format!("keyid=\"{keyid}\""));
    crafted(
        bare(),
        &key,
        &format!("(\"@method\" \"@path\"){parameters}"),
    )
    .verify(&key)
}

const NONCE: &str = "nonce=\"0123456789abcdef\"";

#[test]
fn parameters() {
    let with = |more: &str| with_parameters(&format!(";created=1618884473;KEY;{NONCE}{more}"));
    assert!(with("").is_ok());
    assert!(with(";tag=\"oncegate\";alg=\"ed25519\"").is_ok());
    assert_eq!(with(";tag=\"other\""), Err(SignatureError::WrongTag));
    assert_eq!(with(";tag=oncegate"), Err(SignatureError::Malformed));
    for alg in ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "hmac-sha256", ""] {
        let error = Err(SignatureError::WrongAlgorithm);
        assert_eq!(with(&format!(";alg=\"{alg}\"")), error, "{alg}");
    }
    assert_eq!(with(";context=\"x\""), Err(SignatureError::Unsupported));
    assert_eq!(with(";created=1618884473"), Err(SignatureError::Malformed));
    assert_eq!(with(";expires=-1"), Err(SignatureError::Malformed));
    assert_eq!(
        with(";expires=\"1618884473\""),
        Err(SignatureError::Malformed)
    );
    assert_eq!(with(";expires"), Err(SignatureError::Malformed));

    let missing = Err(SignatureError::MissingParameter);
    assert_eq!(with_parameters(&format!(";KEY;{NONCE}")), missing);
    assert_eq!(with_parameters(";created=1618884473;KEY"), missing);
    assert_eq!(
        with_parameters(&format!(";created=1618884473;{NONCE}")),
        missing
    );
    let nonce = |nonce: &str| with_parameters(&format!(";created=1618884473;KEY;nonce={nonce}"));
    assert!(nonce("\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"").is_ok());
    assert!(nonce("\"b64+/b64+/b64+/b64==\"").is_ok());
    assert!(nonce(&format!("\"{}\"", "x".repeat(64))).is_ok());
    let long = format!("\"{}\"", "x".repeat(65));
    for bad in [
        "\"0123456789abcde\"",
        long.as_str(),
        "\"0123456789 abcdef\"",
        "\"0123456789\\\"abcdef\"",
        "0123456789",
        ":AAAAAAAAAAAAAAAAAAAAAA==:",
    ] {
        assert_eq!(nonce(bad), Err(SignatureError::Malformed), "{bad}");
    }
}

#[test]
fn times() {
    let key = ed25519();
    let sent = Sent::post().signed(&key);
    let at = |millis| sent.verify_at(&key.public(), UnixTime::from_millis(millis));
    let created = CREATED * 1000;
    assert!(at(created - 60_000).is_ok());
    assert_eq!(at(created - 60_001), Err(SignatureError::TooNew));
    assert!(at(created + 60_000).is_ok());
    assert_eq!(at(created + 60_001), Err(SignatureError::TooOld));
    assert_eq!(at(u64::MAX), Err(SignatureError::TooOld));
    assert_eq!(at(0), Err(SignatureError::TooNew));

    let expiring = format!(";created=1618884473;expires=1618884483;KEY;{NONCE}");
    let keyid = format!("keyid=\"{}\"", key.public().thumbprint());
    let params = format!("(\"@method\" \"@path\"){}", expiring.replace("KEY", &keyid));
    let sent = crafted(bare(), &key, &params);
    let at = |millis| sent.verify_at(&key.public(), UnixTime::from_millis(millis));
    assert_eq!(at(created + 10_000).unwrap().until, secs(CREATED + 10));
    assert_eq!(at(created + 10_001), Err(SignatureError::TooOld));
}

#[test]
fn coverage() {
    let key = ed25519();
    let keyid = key.public().thumbprint();
    let rest = format!(";created=1618884473;keyid=\"{keyid}\";{NONCE}");
    let full = Sent::post().signed(&key);
    let with = |components: &str| {
        let params = format!("({components}){rest}");
        crafted(full.clone(), &key, &params).verify(&key)
    };
    let error = Err(SignatureError::MissingComponent);
    assert!(with("\"@method\" \"@path\" \"@query\" \"content-digest\"").is_ok());
    assert!(with("\"@method\" \"@target-uri\" \"content-digest\"").is_ok());
    assert_eq!(with("\"@path\" \"@query\" \"content-digest\""), error);
    assert_eq!(with("\"@method\" \"@query\" \"content-digest\""), error);
    assert_eq!(with("\"@method\" \"@path\" \"content-digest\""), error);
    assert_eq!(with("\"@method\" \"@path\" \"@query\""), error);
    assert_eq!(with(""), error);
    let absent = "\"@method\" \"@path\" \"@query\" \"content-digest\" \"x-absent\"";
    assert_eq!(with(absent), error);
    for (bad, error) in [
        (
            "\"@method\" \"@method\" \"@target-uri\"",
            SignatureError::Malformed,
        ),
        (
            "\"@method\" \"@target-uri\" \"Content-Digest\"",
            SignatureError::Malformed,
        ),
        (
            "\"@method\" \"@target-uri\" \"x y\"",
            SignatureError::Malformed,
        ),
        (
            "\"@method\" \"@target-uri\" \"\"",
            SignatureError::Malformed,
        ),
        ("\"@method\" \"@target-uri\" 1", SignatureError::Malformed),
        (
            "\"@method\" \"@target-uri\" \"@status\"",
            SignatureError::Unsupported,
        ),
        (
            "\"@method\" \"@target-uri\" \"@signature-params\"",
            SignatureError::Unsupported,
        ),
        (
            "\"@method\" \"@target-uri\" \"content-digest\";sf",
            SignatureError::Unsupported,
        ),
        (
            "\"@method\";req \"@target-uri\"",
            SignatureError::Unsupported,
        ),
    ] {
        assert_eq!(with(bad), Err(error), "{bad}");
    }

    let strict = Requirements {
        also: &["@authority", "x-a"],
        ..Requirements::DEVICE
    };
    let as_strict = |also: &str| {
        let mut sent = full.clone();
        sent.put("X-A", "1");
        let params = format!("(\"@method\" \"@target-uri\" \"content-digest\" {also}){rest}");
        let sent = crafted(sent, &key, &params);
        sent.verify_as(&key.public(), secs(CREATED), &strict)
    };
    assert!(as_strict("\"x-a\" \"@authority\"").is_ok());
    assert_eq!(as_strict("\"x-a\""), error);
    assert_eq!(as_strict("\"@authority\""), error);
}

#[test]
fn digests() {
    let body = b"{\"approve\":true}";
    let right = digest::of(body);
    let sha512 = {
        use sha2::Digest as _;
        format!("sha-512=:{}:", BASE64.encode(&sha2::Sha512::digest(body)))
    };
    let wrong = digest::of(b"");
    for good in [
        right.clone(),
        sha512.clone(),
        format!("{right}, {sha512}"),
        format!("md5=:AAAA:,{right}"),
        format!("unixsum=1;a=b, {right};x"),
    ] {
        assert_eq!(digest::check(&good, body), Ok(()), "{good}");
    }
    for (bad, error) in [
        (wrong.clone(), SignatureError::DigestMismatch),
        (format!("{wrong}, {sha512}"), SignatureError::DigestMismatch),
        (format!("{sha512}, {wrong}"), SignatureError::DigestMismatch),
        ("md5=:AAAA:".to_owned(), SignatureError::DigestMismatch),
        ("sha-256=:AAAA:".to_owned(), SignatureError::DigestMismatch),
        (String::new(), SignatureError::DigestMismatch),
        (format!("{right}, {right}"), SignatureError::Malformed),
        (right.replace(':', ""), SignatureError::Malformed),
        (right.replace("=:", ":"), SignatureError::Malformed),
        (right.replace("=:", "=:AAAA"), SignatureError::Malformed),
        ("sha-256=1".to_owned(), SignatureError::Malformed),
        ("sha-256".to_owned(), SignatureError::Malformed),
        ("sha-256=(1)".to_owned(), SignatureError::Malformed),
        (right.to_uppercase(), SignatureError::Malformed),
    ] {
        assert_eq!(digest::check(&bad, body), Err(error), "{bad}");
    }

    // A digest that is there and wrong is refused though nothing obliges to cover it.
    let key = ed25519();
    let mut sent = bare().signed(&key);
    sent.put("Content-Digest", &right);
    assert_eq!(sent.verify(&key), Err(SignatureError::DigestMismatch));
}

#[test]
fn labels() {
    let key = ed25519();
    let sent = Sent::post().signed(&key);
    let (input, signature) = (sent.get("signature-input"), sent.get("signature"));
    let with = |input: &str, signature: &str| {
        let mut sent = sent.clone();
        sent.put("Signature-Input", input);
        sent.put("Signature", signature);
        sent.verify(&key)
    };
    let (sig1, sig1_signature) = (
        input.replace("oncegate=(", "sig1=("),
        signature.replace("oncegate=", "sig1="),
    );
    assert!(with(&sig1, &sig1_signature).is_ok(), "the only one");
    let proxy = "proxy=(\"@status\";req \"x\";key=\"a\");created=1";
    let both = format!("{proxy}, {input}");
    assert!(
        with(&both, &format!("proxy=:AAAA:, {signature}")).is_ok(),
        "ours of two"
    );
    let neither = format!("{proxy}, {sig1}");
    for (input, signature, error) in [
        (
            neither.as_str(),
            sig1_signature.as_str(),
            SignatureError::Malformed,
        ),
        (&input, &sig1_signature, SignatureError::Missing),
        (
            &format!("{input}, {input}"),
            &signature,
            SignatureError::Malformed,
        ),
        (
            &input,
            &format!("{signature}, {signature}"),
            SignatureError::Malformed,
        ),
        (&input, &format!("{signature};x"), SignatureError::Malformed),
        (&input, "oncegate=\"x\"", SignatureError::Malformed),
        (&input, "oncegate=(:AAAA:)", SignatureError::Malformed),
        (&input, "oncegate=:AAAA:", SignatureError::BadSignature),
        (&input, "", SignatureError::Missing),
        ("", &signature, SignatureError::Malformed),
        ("oncegate=1", &signature, SignatureError::Malformed),
        (&format!("{input},"), &signature, SignatureError::Malformed),
    ] {
        assert_eq!(with(input, signature), Err(error), "{input} {signature}");
    }
    let mut dropped = sent.clone();
    dropped
        .headers
        .retain(|(name, _)| name != "Signature-Input");
    assert_eq!(dropped.verify(&key), Err(SignatureError::Missing));
}

/// One key's signature under another key's name, and the other way round.
#[test]
fn the_keyid_is_the_key() {
    let (key, other) = (ed25519(), key(KeyAlgorithm::EcdsaP256));
    let name = |key: &SigningKey| {
        let keyid = key.public().thumbprint();
        format!("(\"@method\" \"@path\");created=1618884473;keyid=\"{keyid}\";{NONCE}")
    };
    let lying = crafted(bare(), &key, &name(&other));
    assert_eq!(lying.verify(&key), Err(SignatureError::WrongKey));
    assert_eq!(lying.verify(&other), Err(SignatureError::BadSignature));
}

/// A value that contains the next line of the base (RFC 9421 s7.5.6).
#[test]
fn no_value_is_two_lines() {
    let key = ed25519();
    let keyid = key.public().thumbprint();
    let params =
        format!("(\"x-a\" \"@method\" \"@path\");created=1618884473;keyid=\"{keyid}\";{NONCE}");
    let honest = crafted(
        Sent {
            headers: vec![("x-a".to_owned(), b"1".to_vec())],
            ..bare()
        },
        &key,
        &params,
    );
    assert!(honest.verify(&key).is_ok());
    for value in ["1\n2", "1\r2", "1\x002", "1\u{e9}2", "1\x7f2"] {
        let mut sent = honest.clone();
        sent.put("x-a", value);
        assert_eq!(
            sent.verify(&key),
            Err(SignatureError::Malformed),
            "{value:?}"
        );
    }
    for (method, target) in [
        ("A\nB", "/a"),
        ("A B", "/a"),
        ("", "/a"),
        ("POST", "/a\nb"),
        ("POST", "a"),
        ("POST", "*"),
        ("POST", "/a b"),
        ("POST", "/a#b"),
        ("POST", "/\u{e9}"),
    ] {
        let sent = Sent {
            method: method.to_owned(),
            target: target.to_owned(),
            ..honest.clone()
        };
        assert_eq!(
            sent.verify(&key),
            Err(SignatureError::Malformed),
            "{method:?} {target:?}"
        );
    }
    let query = Sent {
        target: "/a?b\nc".to_owned(),
        ..bare()
    };
    let signed = query.with(|request| sign::sign(request, &key, secs(CREATED), &[0; 16], &[]));
    assert_eq!(signed, Err(SignatureError::Malformed));
}

/// The text of `@target-uri` is the same, its parts are not.
#[test]
fn parts_of_the_target_do_not_move() {
    let key = ed25519();
    let keyid = key.public().thumbprint();
    let params =
        format!("(\"@method\" \"@target-uri\");created=1618884473;keyid=\"{keyid}\";{NONCE}");
    let sent = Sent {
        target: "/a/b?c".to_owned(),
        ..bare()
    };
    let sent = crafted(sent, &key, &params);
    assert!(sent.verify(&key).is_ok());
    for (authority, target) in [
        ("otp.example.com/a", "/b?c"),
        ("otp.example.com/a/b?c", ""),
        ("x@otp.example.com", "/a/b?c"),
        ("otp.example.com ", "/a/b?c"),
    ] {
        let moved = Sent {
            authority: authority.to_owned(),
            target: target.to_owned(),
            ..sent.clone()
        };
        assert_eq!(
            moved.verify(&key),
            Err(SignatureError::Malformed),
            "{authority}"
        );
    }
}

#[test]
fn authorities_are_written_one_way() {
    let of = |scheme, authority: &str| {
        let headers: &Headers<'_> = &[
            ("signature-input", b"a=(\"@authority\");keyid=\"x\""),
            ("signature", b"a=:AA==:"),
        ];
        let request = RequestView::new("GET", scheme, authority, "/", headers, b"");
        let claimed = verify::claimed(headers).unwrap();
        let base = claimed.signature_base(&request).unwrap();
        let line = base.lines().next().unwrap();
        line.strip_prefix("\"@authority\": ").unwrap().to_owned()
    };
    for (scheme, written, signed) in [
        (Scheme::Https, "A.example:443", "a.example"),
        (Scheme::Https, "a.example:", "a.example"),
        (Scheme::Https, "a.example:80", "a.example:80"),
        (Scheme::Http, "a.example:80", "a.example"),
        (Scheme::Http, "a.example:443", "a.example:443"),
        (Scheme::Https, "[2001:DB8::443]", "[2001:db8::443]"),
        (Scheme::Https, "[2001:db8::1]:443", "[2001:db8::1]"),
    ] {
        assert_eq!(of(scheme, written), signed, "{written}");
    }
}

/// Points of small order, each in every encoding that a decoder accepts; points with a part of
/// small order; `y` beyond the prime, which would give one key two names.
#[test]
fn weak_ed25519_keys() {
    let mut bad: Vec<String> = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "9599999999999999999999999999999999999999999999999999999999999999",
        "da99e28ba529cdde35a25fba9059e78ecaee239f99755b9b1aa4f65df00803e2",
    ]
    .map(str::to_owned)
    .to_vec();
    for first in 0xed..=0xff_u8 {
        for last in ["7f", "ff"] {
            bad.push(format!("{first:02x}{}{last}", "ff".repeat(30)));
        }
    }
    for hex in bad {
        let octets = HEXLOWER.decode(hex.as_bytes()).unwrap();
        let key = PublicKey::parse(KeyAlgorithm::Ed25519, &octets);
        assert_eq!(key, Err(KeyError::Invalid), "{hex}");
        let der = [
            HEXLOWER.decode(b"302a300506032b6570032100").unwrap(),
            octets,
        ]
        .concat();
        assert_eq!(PublicKey::parse_der(&der), Err(KeyError::Invalid), "{hex}");
    }
    for length in [0, 31, 33, 65] {
        let key = PublicKey::parse(KeyAlgorithm::Ed25519, &vec![2; length]);
        assert_eq!(key, Err(KeyError::Malformed));
    }
}

#[test]
fn odd_p256_keys() {
    let algorithm = KeyAlgorithm::EcdsaP256;
    let public = key(algorithm).public();
    let octets = public.encode();
    let compressed = [&[2 | (octets[64] & 1)], &octets[1..33]].concat();
    assert_eq!(PublicKey::parse(algorithm, &compressed), Ok(public.clone()));
    let hybrid = [&[6 | (octets[64] & 1)], &octets[1..]].concat();
    let compact = [&[5], &octets[1..33]].concat();
    for bad in [hybrid, compact, vec![0], Vec::new(), octets[1..].to_vec()] {
        assert_eq!(PublicKey::parse(algorithm, &bad), Err(KeyError::Malformed));
    }
    let mut moved = octets.clone();
    moved[64] ^= 1;
    assert_eq!(PublicKey::parse(algorithm, &moved), Err(KeyError::Invalid));
    assert_eq!(
        PublicKey::parse(algorithm, &[&[4], [0; 64].as_slice()].concat()),
        Err(KeyError::Invalid)
    );
    assert_eq!(
        PublicKey::parse(algorithm, &[&[4], [0xff; 64].as_slice()].concat()),
        Err(KeyError::Invalid)
    );
    let text = format!("{}=", public.base64url());
    assert_eq!(
        PublicKey::parse_base64url(algorithm, &text),
        Err(KeyError::Malformed)
    );

    for scalar in [[0; 32], [0xff; 32]] {
        let made = SigningKey::from_random(algorithm, &Key256::new(scalar));
        assert_eq!(made.err(), Some(KeyError::Invalid));
    }
}

#[test]
fn odd_documents() {
    let public = ed25519().public();
    let der = public.der().unwrap();
    let parse = PublicKey::parse_der;
    assert_eq!(
        parse(&[&der, [0].as_slice()].concat()),
        Err(KeyError::Malformed)
    );
    assert_eq!(parse(&der[..43]), Err(KeyError::Malformed));
    // X25519: the same form, another use.
    let mut x25519 = der.clone();
    x25519[8] = 0x6e;
    assert_eq!(parse(&x25519), Err(KeyError::Algorithm));
    // P-384 named over a key of P-256; a curve with no name.
    let p256 = key(KeyAlgorithm::EcdsaP256).public().der().unwrap();
    let curve = HEXLOWER.decode(b"06082a8648ce3d030107").unwrap();
    let place = p256.windows(10).position(|window| window == curve).unwrap();
    let mut other = p256.clone();
    other[place + 9] = 6;
    assert_eq!(parse(&other), Err(KeyError::Algorithm));
    // RFC 8410 s3: no parameters, not even NULL.
    let mut null = der.clone();
    null.splice(9..9, [5, 0]);
    (null[1], null[3]) = (44, 7);
    assert_eq!(parse(&null), Err(KeyError::Algorithm));

    let pem = public.pem().unwrap();
    assert_eq!(PublicKey::parse_pem(&pem), Ok(public));
    let label = pem.replace("PUBLIC", "OTHER");
    assert_eq!(PublicKey::parse_pem(&label), Err(KeyError::Algorithm));
    assert_eq!(
        PublicKey::parse_pem(&format!("{pem}x")),
        Err(KeyError::Malformed)
    );
    assert_eq!(PublicKey::parse_pem(""), Err(KeyError::Malformed));
    let secret = SigningKey::parse_pem(&SecretString::from(pem.as_str()));
    assert_eq!(secret.err(), Some(KeyError::Algorithm));
    let pem = ed25519().pem().unwrap();
    assert_eq!(PublicKey::parse_pem(pem.expose()), Err(KeyError::Algorithm));
}
