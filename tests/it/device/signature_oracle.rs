//! HTTP message signatures against another implementation: `http-message-signatures` for Python,
//! run by `signature_oracle.py` in the environment that `tests/run` makes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use oncegate::secret::Key256;
use oncegate::signature::key::{KeyAlgorithm, SigningKey};
use oncegate::signature::request::{RequestView, Scheme};
use oncegate::signature::verify::{Requirements, Verified};
use oncegate::signature::{SignatureError, sign, verify};
use oncegate::time::UnixTime;
use serde_json::{Value, json};

use crate::support::{Random, skip};

const CREATED: u64 = 1_618_884_473;

struct Case {
    key: SigningKey,
    method: &'static str,
    scheme: Scheme,
    /// As the sender writes it, and as it is signed.
    authority: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Case {
    fn draw(random: &mut Random) -> Self {
        let algorithm = random.pick(&KeyAlgorithm::ALL);
        let secret: [u8; 32] = random.octets(32).try_into().expect("32 octets");
        let path = random.pick(&["/", "/v1/device/requests", "/v1/device/a%20b/~x", "//a//"]);
        let query = random.pick(&["", "?", "?a=b", "?a=b&c=%2F?d", "?%EA%B0%80=1+2"]);
        let length = random.pick(&[0, 1, 100, 5000]);
        let value = random.pick(&["application/json", "", "a,  b", "\"x\\\" \tz\"", ":AA==:"]);
        Self {
            key: SigningKey::from_random(algorithm, &Key256::new(secret)).expect("a scalar"),
            method: random.pick(&["GET", "POST", "DELETE", "M-SEARCH"]),
            scheme: random.pick(&[Scheme::Http, Scheme::Https]),
            authority: random.pick(&["otp.example.com", "OTP.example.com:8443", "[::1]:8080"]),
            target: format!("{path}{query}"),
            headers: vec![("X-Value".to_owned(), value.to_owned())],
            body: random.octets(length),
        }
    }

    fn with<T>(&self, then: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let octets =
            |(name, value): &'_ (String, String)| (name.clone(), value.clone().into_bytes());
        let owned: Vec<(String, Vec<u8>)> = self.headers.iter().map(octets).collect();
        let headers: Vec<(&str, &[u8])> = owned
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let (authority, target) = (self.authority, &self.target);
        let (method, scheme, body) = (self.method, self.scheme, &self.body);
        then(&RequestView::new(
            method, scheme, authority, target, &headers, body,
        ))
    }

    fn verify(&self) -> Result<Verified, SignatureError> {
        let (now, key) = (UnixTime::from_secs(CREATED), self.key.public());
        self.with(|request| {
            verify::claimed(request.headers)?.verify(request, &key, now, &Requirements::DEVICE)
        })
    }

    fn question(&self, what: &str) -> Value {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let public = self.key.public();
        json!({
            "do": what,
            "algorithm": public.algorithm().as_str(),
            "keyid": public.thumbprint(),
            "method": self.method,
            "url": format!("{scheme}://{}{}", self.authority, self.target),
            "headers": self.headers,
            "body": BASE64.encode(&self.body),
        })
    }
}

fn python() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    if path.is_file() {
        return Some(path);
    }
    skip("target/venv is missing (tests/run makes it)");
    None
}

/// Asks all questions of one process.
fn ask(python: &PathBuf, questions: &[Value]) -> Vec<Value> {
    let script =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/device/signature_oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let mut stdin = child.stdin.take().expect("a pipe");
    // Written beside reading: more than a pipe holds goes both ways.
    let writer = std::thread::spawn(move || {
        stdin
            .write_all((lines.join("\n") + "\n").as_bytes())
            .expect("Python reads");
    });
    let output = child.wait_with_output().expect("Python ends");
    writer.join().expect("written");
    assert!(output.status.success(), "the oracle failed");
    let answers = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// What we sign, they verify; and not when one bit of the body or the method is another.
#[test]
fn they_verify_ours() {
    let Some(python) = python() else { return };
    let mut random = Random(0x6f75_7273);
    let (mut questions, mut expected) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let mut case = Case::draw(&mut random);
        let nonce: [u8; 16] = random.octets(16).try_into().expect("16 octets");
        let created = UnixTime::from_secs(CREATED);
        let fields = case
            .with(|request| {
                sign::sign(
                    request,
                    &case.key,
                    created,
                    &nonce,
                    &["@authority", "x-value"],
                )
            })
            .expect("signed");
        let digest = fields.content_digest.map(|value| ("Content-Digest", value));
        let others = [
            ("Signature-Input", fields.signature_input),
            ("Signature", fields.signature),
        ];
        for (name, value) in digest.into_iter().chain(others) {
            case.headers.push((name.to_owned(), value));
        }
        assert!(case.verify().is_ok(), "case {number}");
        let changed = number % 4 == 3;
        if changed {
            match case.body.first_mut() {
                Some(octet) => *octet ^= 1,
                None => case.method = "PUT",
            }
            assert!(case.verify().is_err(), "case {number}");
        }
        let mut question = case.question("verify");
        question["pem"] = json!(case.key.public().pem().expect("PEM"));
        questions.push(question);
        expected.push(!changed);
    }
    for (number, answer) in ask(&python, &questions).iter().enumerate() {
        assert_eq!(
            answer["verified"], expected[number],
            "case {number}: {answer}"
        );
    }
}

/// What they sign, in any order of components, we verify.
#[test]
fn we_verify_theirs() {
    let Some(python) = python() else { return };
    let mut random = Random(0x7468_6569_7273);
    let (mut cases, mut questions) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let case = Case::draw(&mut random);
        let target: &[&str] = random.pick(&[&["@path", "@query"] as &[&str], &["@target-uri"]]);
        let mut components = [&["x-value", "@authority", "@method"], target].concat();
        for index in (1..components.len()).rev() {
            let other = random.below(index as u64 + 1);
            components.swap(index, usize::try_from(other).expect("an index"));
        }
        let nonce = BASE64.encode(&random.octets(24));
        let mut question = case.question("sign");
        question["pem"] = json!(case.key.pem().expect("PEM").expose());
        question["created"] = json!(CREATED);
        question["nonce"] = json!(nonce);
        question["label"] = json!(random.pick(&["oncegate", "sig1"]));
        question["tag"] = random.pick(&[Some("oncegate"), None]).into();
        question["alg"] = json!(number % 2 == 0);
        question["components"] = json!(components);
        questions.push(question);
        cases.push((case, nonce));
    }
    let answers = ask(&python, &questions);
    for (number, ((mut case, nonce), answer)) in cases.into_iter().zip(answers).enumerate() {
        case.headers = serde_json::from_value(answer["headers"].clone()).expect("headers");
        let verified = case.verify();
        let verified = verified.unwrap_or_else(|error| panic!("case {number}: {error}: {answer}"));
        assert_eq!(verified.nonce, nonce);
        assert_eq!(verified.keyid, case.key.public().thumbprint());
        case.target.push('x');
        assert_eq!(
            case.verify(),
            Err(SignatureError::BadSignature),
            "case {number}"
        );
    }
}
