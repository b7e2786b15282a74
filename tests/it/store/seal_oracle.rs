//! What seals secrets at rest against another implementation: the OpenSSL command line.
//!
//! `openssl enc` has no authenticated modes, so each part is compared: ciphertexts with counter
//! mode, tags of GCM with GMAC (GCM without plaintext; RFC 8269 has one with), the tag of SEED with
//! HMAC.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use oncegate::model::sealing::SealAlgorithm;
use oncegate::store::seal::cipher::Ciphers;
use oncegate::store::seal::seed::Seed;

use crate::support::sealing::{Fixed, keys};
use crate::support::{Random, require, skip};

const CASES: usize = 40;
/// SEED lives in a module of its own since OpenSSL 3.0.
const LEGACY: [&str; 4] = ["-provider", "legacy", "-provider", "default"];

fn openssl(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    // Inputs are shorter than a pipe is long. A tool that refuses its arguments reads nothing.
    let written = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().expect("openssl ends");
    if output.status.success() {
        written.expect("openssl reads");
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn says(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    openssl(arguments, input).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut hex, octet| {
        write!(hex, "{octet:02x}").expect("a string takes text");
        hex
    })
}

/// Whether OpenSSL is here, and SEED in it.
fn has_seed() -> bool {
    if !require("openssl", "openssl") {
        return false;
    }
    let zero = "00".repeat(16);
    let arguments = [&["enc", "-seed-ecb", "-nopad", "-K", &zero], &LEGACY[..]].concat();
    let found = openssl(&arguments, &[0; 16]).is_ok();
    if !found {
        skip("openssl has no legacy provider (apt install openssl-provider-legacy)");
    }
    found
}

fn seed_ecb(key: &[u8], blocks: &[u8]) -> Vec<u8> {
    let key = hex(key);
    let arguments = [&["enc", "-seed-ecb", "-nopad", "-K", &key], &LEGACY[..]].concat();
    says(&arguments, blocks)
}

/// A key, a nonce, associated data and a plaintext.
fn case(random: &mut Random) -> ([u8; 32], Vec<u8>, Vec<u8>, Vec<u8>) {
    let key = random.octets(32).try_into().expect("32 octets");
    let (associated, plain) = (random.below(100), 1 + random.below(200));
    (
        key,
        random.octets(12),
        random.octets(associated),
        random.octets(plain),
    )
}

#[test]
fn seed_blocks() {
    if !has_seed() {
        return;
    }
    let mut random = Random(0x7365_6564_5f65_6362);
    for _ in 0..CASES {
        let key: [u8; 16] = random.octets(16).try_into().expect("16 octets");
        let blocks = random.octets(64 * 16);
        let seed = Seed::new(&key);
        let (chunks, _) = blocks.as_chunks::<16>();
        let ours: Vec<u8> = chunks
            .iter()
            .flat_map(|block| seed.encrypt(block))
            .collect();
        assert_eq!(ours, seed_ecb(&key, &blocks), "key {}", hex(&key));
    }
}

#[test]
fn seed_counter_mode_and_hmac() {
    if !has_seed() {
        return;
    }
    let mut random = Random(0x7365_6564_5f63_7472);
    for _ in 0..CASES {
        let (key, nonce, associated, plain) = case(&mut random);
        let sealed = Ciphers::new(&keys(key))
            .seal(
                SealAlgorithm::Seed128CtrHmacSha256,
                &associated,
                &plain,
                &Fixed(nonce.clone()),
            )
            .expect("short");
        let counters = (0_u32..16).flat_map(|n| [&nonce[..], &n.to_be_bytes()].concat());
        let stream = seed_ecb(&key[..16], &counters.collect::<Vec<u8>>());
        let ciphertext: Vec<u8> = plain.iter().zip(&stream).map(|(a, b)| a ^ b).collect();
        let mut framed = Vec::new();
        for part in [&associated, &nonce, &ciphertext] {
            framed.extend_from_slice(&(part.len() as u64).to_be_bytes());
            framed.extend_from_slice(part);
        }
        let key = format!("hexkey:{}", hex(&key));
        let arguments = [
            "dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary",
        ];
        let tag = says(&arguments, &framed);
        assert_eq!(sealed, [&[3], &nonce[..], &ciphertext, &tag].concat());
    }
}

#[test]
fn gcm() {
    if !require("openssl", "openssl") {
        return;
    }
    let mut random = Random(0x6172_6961_5f67_636d);
    for (algorithm, number, counter_mode, gcm) in [
        (SealAlgorithm::Aes256Gcm, 1, "-aes-256-ctr", "AES-256-GCM"),
        (
            SealAlgorithm::Aria256Gcm,
            2,
            "-aria-256-ctr",
            "ARIA-256-GCM",
        ),
    ] {
        for _ in 0..CASES {
            let (key, nonce, associated, plain) = case(&mut random);
            let ciphers = Ciphers::new(&keys(key));
            let seal = |plain: &[u8]| {
                let nonce = Fixed(nonce.clone());
                ciphers.seal(algorithm, &associated, plain, &nonce)
            };
            let key = hex(&key);
            // Counter 1 masks the tag (SP 800-38D s7.1).
            let first = format!("{}00000002", hex(&nonce));
            let arguments = ["enc", counter_mode, "-K", &key, "-iv", &first];
            let ciphertext = says(&arguments, &plain);
            let sealed = seal(&plain).expect("short");
            let (head, _tag) = sealed.split_at(sealed.len() - 16);
            assert_eq!(head, [&[number], &nonce[..], &ciphertext].concat());

            let (key, nonce) = (format!("hexkey:{key}"), hex(&nonce));
            let iv = format!("hexiv:{nonce}");
            let arguments = [
                "mac", "-cipher", gcm, "-macopt", &key, "-macopt", &iv, "-in", "-", "-binary",
                "GMAC",
            ];
            let tag = says(&arguments, &associated);
            let sealed = seal(&[]).expect("empty");
            assert_eq!(hex(&sealed), format!("{number:02x}{nonce}{}", hex(&tag)));
        }
    }
}
