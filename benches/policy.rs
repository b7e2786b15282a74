//! One decision over 50 rules of which the last holds, and one reading of a password box.
//!
//! `cargo bench --bench policy`. The goal is 2 us per decision on one core.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use oncegate::diagnostic::Source;
use oncegate::otp::Digits;
use oncegate::policy::split::{Extra, split};
use oncegate::policy::{Factor, Facts, Policies};
use oncegate::time::UnixTime;

/// Sunday night in Seoul, Saturday in New York.
const NOW: UnixTime = UnixTime::from_secs(1_795_275_000);

/// Rules of which each fails only at its last condition.
fn text() -> String {
    let zones = ["Asia/Seoul", "Europe/Berlin", "America/New_York"];
    let mut text = String::new();
    for (number, zone) in (0..49).zip(zones.iter().cycle()) {
        let when = match number % 5 {
            0 => format!("group = [\"staff\", \"guests\"], client = \"vpn-{number}\""),
            1 => format!(
                "method = \"pap\", network = [\"10.{number}.0.0/16\", \"2001:db8:{number}::/48\"]"
            ),
            2 => format!("group = \"staff\", time = \"mon-fri 07:00-20:{number:02} {zone}\""),
            3 => format!(
                "realm = \"default\", attribute.\"NAS-Port-Type\" = [\"Virtual\", \"Port-{number}\"]"
            ),
            _ => format!(
                "network = \"203.0.113.0/24\", time = [\"mon 08:00-17:00 {zone}\", \"sat 02:00-03:{number:02} {zone}\"]"
            ),
        };
        write!(text, "[[rule]]\nname = \"r{number}\"\nwhen = {{ {when} }}\nrequire = [\"password\", \"otp\"]\n")
            .expect("a string takes everything");
    }
    text + "[[rule]]\nname = \"last\"\nwhen = { group = \"staff\" }\nrequire = \"otp\"\n"
}

fn benches(criterion: &mut Criterion) {
    let source = Source::new("policies/large.toml", text());
    let policies = Policies::parse(&[source], &|_, _| Ok(())).expect("a good policy");
    let policy = policies.get("large").expect("it was parsed");
    let groups = ["everybody".to_owned(), "staff".to_owned()];
    let facts = Facts {
        now: NOW,
        client: "vpn",
        user: "alice",
        realm: "default",
        groups: &groups,
        user_class: Some("employee"),
        source: "203.0.113.7".parse().ok(),
        method: "pap",
        attributes: &[
            ("NAS-Identifier", "gw"),
            ("NAS-Port-Type", "Wireless-802.11"),
        ],
        context: &[],
    };
    criterion.bench_function("decide, the last of 50 rules", |bencher| {
        bencher.iter(|| {
            let rule = policy.decide(black_box(&facts)).rule();
            assert!(rule.is_some_and(|rule| rule.name == "last"));
        });
    });
    let require = [Factor::Password, Factor::Pin, Factor::Otp];
    criterion.bench_function("split, password + PIN + code", |bencher| {
        bencher.iter(|| {
            let text = black_box("correct horse,battery8842,12345678");
            let lengths = [Digits::SIX, Digits::EIGHT];
            assert_eq!(
                split(&require, text, lengths, Some(4), Extra::default()).len(),
                2
            );
        });
    });
}

criterion_group!(all, benches);
criterion_main!(all);
