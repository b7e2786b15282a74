//! Profiles of appliances and dictionaries of a site, by the real binary.

use std::fs;
use std::time::Duration;

use oncegate::manual;
use oncegate::model::profile::PROFILES;
use oncegate::radius::attribute::Type;
use oncegate::radius::dictionary::Dictionary;
use oncegate::radius::packet::{Code, Packet};

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::Site;
use crate::support::net::Radius;

const SECRET: &str = "a-shared-secret-of-a-gateway";

#[test]
fn each_profile_makes_a_client_says_what_to_enter_and_has_its_page() {
    let site = Site::new();
    let dictionary = Dictionary::builtin().unwrap();
    for (number, profile) in PROFILES.iter().enumerate() {
        let (name, address) = (profile.name, format!("192.0.2.{number}"));
        let words = [
            "client",
            "add",
            "radius",
            name,
            "--address",
            &address,
            "--profile",
            name,
        ];
        let made = site.run(&words);
        assert!(made.status.success(), "{made:?}");
        let text = String::from_utf8(made.stdout).unwrap();
        let shown = site.json(&["client", "show", name]);
        assert_eq!(shown["profile"], name);
        assert_eq!(shown["challenge"], profile.challenge, "{name}");
        assert_eq!(
            shown["require_message_authenticator"],
            profile.require.as_str()
        );
        assert_eq!(
            shown["unsigned_replies_until"].is_string(),
            profile.refuses_signed,
            "{name}"
        );
        let known = profile
            .groups
            .is_none_or(|(name, _)| dictionary.attribute(name).is_some());
        assert!(known, "{name}");
        if name == "generic" {
            continue;
        }
        assert!(
            text.contains("Enter on the") && text.contains(profile.enter[0].says),
            "{text}"
        );
        let page = manual::page(&format!("appliances/{name}")).unwrap();
        for part in [
            "## On this server",
            "## On the appliance",
            "## The test",
            "## The five usual failures",
        ] {
            assert!(page.text.contains(part), "{name}: {part}");
        }
        assert!(page.text.contains(&format!("--profile {name} ")), "{name}");
        let printed = site.run(&["manual", &format!("appliances/{name}")]);
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), page.text);
    }
    let unknown = [
        "client",
        "add",
        "radius",
        "x",
        "--address",
        "198.51.100.1",
        "--profile",
        "toaster",
    ];
    assert_eq!(site.run(&unknown).status.code(), Some(2));
    // What an administrator says stands over the profile.
    let own = [
        "client",
        "add",
        "radius",
        "own",
        "--address",
        "198.51.100.2",
        "--profile",
        "pfsense",
        "--challenge",
        "true",
        "--require-message-authenticator",
        "true",
    ];
    let own = site.json(&own);
    assert_eq!(
        (&own["challenge"], &own["require_message_authenticator"]),
        (&true.into(), &"true".into())
    );
}

#[test]
fn a_secret_is_as_short_as_the_appliance_needs_it() {
    let site = Site::new();
    let add = [
        "client",
        "add",
        "radius",
        "wall",
        "--address",
        "192.0.2.1",
        "--profile",
        "sonicwall",
    ];
    assert_eq!(site.json(&add)["secret"].as_str().unwrap().len(), 31);
    assert_eq!(
        site.json(&["client", "rotate", "wall"])["secret"]
            .as_str()
            .unwrap()
            .len(),
        31
    );
    let long = site.run_with(
        &["client", "rotate", "wall", "--force", "--secret-stdin"],
        &"x".repeat(32),
    );
    assert_eq!(long.status.code(), Some(2), "{long:?}");
    assert!(
        String::from_utf8(long.stderr)
            .unwrap()
            .contains("at most 31")
    );
}

#[test]
fn an_appliance_that_drops_signed_replies_gets_unsigned_ones_until_that_is_ended() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    let add = [
        "client",
        "add",
        "radius",
        "point",
        "--address",
        "127.0.0.1",
        "--profile",
        "checkpoint",
        "--secret-stdin",
    ];
    site.json_with(&add, SECRET);
    let daemon = site.serve();
    let mut nas = Radius::new(daemon.radius, SECRET);
    nas.patience(Duration::from_secs(20));
    let mut ask = |code: &str| {
        let request = nas.request("alice", code);
        nas.send(&request);
        let reply = nas.receive().unwrap();
        let code = nas.verified(&request, &reply);
        (
            code,
            Packet::parse(&reply)
                .unwrap()
                .has(Type::MessageAuthenticator),
        )
    };
    assert_eq!(ask(&hotp(0)), (Code::AccessAccept, false));
    assert_eq!(ask("000000"), (Code::AccessReject, false));
    let doctor = site.run(&["doctor"]);
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        text.contains("leave without Message-Authenticator until"),
        "{text}"
    );
    site.json(&["client", "set", "point", "--unsigned-replies", "0s"]);
    assert_eq!(ask(&hotp(1)), (Code::AccessAccept, true));
    let years = site.run(&["client", "set", "point", "--unsigned-replies", "400d"]);
    assert_eq!(years.status.code(), Some(2), "{years:?}");
}

#[test]
fn a_dictionary_of_the_site_serves_policies_and_is_read_again() {
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("vpn", SECRET);
    let dir = site.path().join("dictionaries");
    fs::create_dir(&dir).unwrap();
    fs::write(
        site.path().join("oncegate.toml"),
        "[radius]\ndictionary = \"dictionaries\"\n",
    )
    .unwrap();
    let file = dir.join("dictionary");
    fs::write(&file, "$INCLUDE dictionary.acme\n").unwrap();
    let acme =
        "VENDOR Acme 55555\nBEGIN-VENDOR Acme\nATTRIBUTE Acme-Role 7 string\nEND-VENDOR Acme\n";
    fs::write(dir.join("dictionary.acme"), acme).unwrap();
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n[reply]\n\"Acme-Role\" = \"admin\"\n";
    fs::write(site.path().join("policies/default.toml"), policy).unwrap();
    assert!(site.run(&["policy", "check"]).status.success());
    let daemon = site.serve();
    let mut nas = Radius::new(daemon.radius, SECRET);
    let request = nas.request("alice", &hotp(0));
    nas.send(&request);
    let reply = nas.receive().unwrap();
    assert_eq!(nas.verified(&request, &reply), Code::AccessAccept);
    let reply = Packet::parse(&reply).unwrap();
    let value = reply.first(Type::VendorSpecific).unwrap();
    assert_eq!(
        value,
        [&55_555_u32.to_be_bytes()[..], &[7, 7], b"admin"].concat()
    );

    // A fault is named by file and line, and what was in force stays.
    fs::write(
        dir.join("dictionary.acme"),
        acme.replace("string", "strung"),
    )
    .unwrap();
    let refused = site.run(&["reload"]);
    let text =
        String::from_utf8(refused.stdout).unwrap() + &String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("dictionary.acme:3") && text.contains("strung"),
        "{text}"
    );
    assert_eq!(nas.ask("alice", &hotp(1)), Some(Code::AccessAccept));
    fs::write(
        dir.join("dictionary.acme"),
        acme.replace("Role 7", "Role 9"),
    )
    .unwrap();
    site.json(&["reload"]);
    let request = nas.request("alice", &hotp(2));
    nas.send(&request);
    let reply = nas.receive().unwrap();
    let reply = Packet::parse(&reply).unwrap();
    assert_eq!(reply.first(Type::VendorSpecific).unwrap()[4], 9);
    fs::remove_file(&file).unwrap();
    fs::remove_file(dir.join("dictionary.acme")).unwrap();
    fs::remove_dir(&dir).unwrap();
    let gone = site.run(&["policy", "check"]);
    assert!(!gone.status.success());
}
