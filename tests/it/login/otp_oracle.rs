//! Our codes against two other implementations: totp-rs and oathtool.

use std::fmt::Write as _;
use std::process::Command;

use oncegate::otp::totp::{Drift, Parameters, TimeStep, Window};
use oncegate::otp::{Algorithm, Digits, Period, hotp, totp};
use oncegate::secret::{OtpKey, SecretBytes};
use oncegate::time::UnixTime;

use crate::support::{Random, require};

fn parameters(random: &mut Random, digits: std::ops::RangeInclusive<u8>) -> Parameters {
    let digits: Vec<u8> = digits.collect();
    Parameters {
        algorithm: random.pick(&Algorithm::ALL),
        digits: Digits::new(random.pick(&digits)).expect("6 to 9"),
        period: Period::new(random.pick(&[15, 30, 30, 30, 60, 60, 90, 300])).expect("15 to 300"),
    }
}

fn key(octets: &[u8]) -> OtpKey {
    OtpKey::new(SecretBytes::from(octets)).expect("10 to 128 octets")
}

/// 10^5 random tokens and times: same code, and the same step is recognised when the code is up
/// to two steps old or new.
#[test]
fn totp_rs() {
    let mut random = Random(0x6f6e_6365_6761_7465);
    let window = Window { back: 1, ahead: 1 };
    for case in 0..100_000 {
        let parameters = parameters(&mut random, 6..=8);
        let length = 16 + random.below(49);
        let octets = random.octets(length);
        let bits = random.pick(&[20, 31, 32, 33, 36]);
        let secs = 1000 + random.below(1 << bits);
        let period = u64::from(parameters.period.as_secs());
        let other_time = (secs + random.below(5) * period).saturating_sub(2 * period);
        let theirs = totp_rs::Builder::new()
            .with_algorithm(match parameters.algorithm {
                Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
                Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
                Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
            })
            .with_digits(parameters.digits.get())
            .with_step_duration(period)
            .with_skew(1)
            .with_secret(octets.clone())
            .build()
            .expect("a token");

        let key = key(&octets);
        let now = UnixTime::from_secs(secs);
        let shown_at = TimeStep::at(UnixTime::from_secs(other_time), parameters.period);
        let ours = totp::generate(&key, parameters, shown_at);
        assert_eq!(
            ours.expose().expose(),
            theirs.generate(other_time).to_string(),
            "case {case}"
        );
        let found = totp::find(&key, parameters, &ours, now, Drift::default(), window);
        let expected = theirs.check(ours.expose().expose(), secs);
        assert_eq!(found.first_after(None), expected, "case {case}");
    }
}

fn oathtool_says(arguments: &[&str]) -> String {
    let output = Command::new("oathtool")
        .args(arguments)
        .output()
        .expect("oathtool runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("digits")
        .trim()
        .to_owned()
}

/// A few hundred random tokens of both kinds. oathtool knows 6 to 8 digits, and SHA-1 for HOTP.
#[test]
fn oathtool() {
    if !require("oathtool", "oathtool") {
        return;
    }
    let mut random = Random(0x6f61_7468_746f_6f6c);
    for _ in 0..300 {
        let parameters = parameters(&mut random, 6..=8);
        let length = 10 + random.below(119);
        let octets = random.octets(length);
        let key = key(&octets);
        let hex = octets.iter().fold(String::new(), |mut hex, octet| {
            write!(hex, "{octet:02x}").expect("a string takes text");
            hex
        });
        let digits = format!("--digits={}", parameters.digits);

        let counter = random.next();
        let ours = hotp::generate(&key, Algorithm::Sha1, parameters.digits, counter);
        let theirs = oathtool_says(&["--hotp", &digits, &format!("--counter={counter}"), &hex]);
        assert_eq!(ours.expose().expose(), theirs, "counter {counter}");

        let secs = random.below(1 << 33);
        let step = TimeStep::at(UnixTime::from_secs(secs), parameters.period);
        let ours = totp::generate(&key, parameters, step);
        let theirs = oathtool_says(&[
            &format!("--totp={}", parameters.algorithm.as_str()),
            &digits,
            &format!("--time-step-size={}s", parameters.period.as_secs()),
            &format!("--now=@{secs}"),
            &hex,
        ]);
        assert_eq!(ours.expose().expose(), theirs, "{parameters:?} at {secs}");
    }
}
