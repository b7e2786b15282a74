//! One human attempt in several packets: one consumption, one failure at most, and nothing for anyone else.

use std::net::IpAddr;
use std::time::Duration;

use md5::{Digest as _, Md5};
use oncegate::admin::{ClientPatch, CredentialsPatch, NewToken, NewVerifier};
use oncegate::model::kind::Kind;
use oncegate::otp::{Algorithm, Digits, Period};
use oncegate::radius::attribute::Type;
use oncegate::radius::microsoft;
use oncegate::radius::mschap::{challenge_hash, challenge_response, nt_password_hash};
use oncegate::radius::packet::Packet;
use oncegate::secret::SecretBytes;
use serde_json::json;

use crate::support::lab::{Heard, Lab, code_of, key, octets};

const OTP: &str = "reject_delay = \"0s\"\n[lockout]\nfree = 10\nlock_after = 20\n\
    [[rule]]\nname = \"inside\"\nwhen = { attribute.\"NAS-Port-Type\" = \"Ethernet\" }\nrequire = [\"pin\", \"otp\"]\n\
    [[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";

const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)));
const ELSEWHERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 8)));

/// alice and bob with counter tokens, and a NAS with a window of ten seconds.
async fn lab() -> Lab {
    let lab = Lab::new(&[("vpn", OTP), ("other", OTP)]).await;
    for user in ["alice", "bob"] {
        lab.user(user, Some("928374"), None).await;
        lab.token(user, Kind::Hotp, Digits::SIX).await;
    }
    window(&lab, 10).await;
    lab
}

async fn window(lab: &Lab, secs: u64) {
    let patch = ClientPatch {
        retry_window: Some(Duration::from_secs(secs)),
        ..ClientPatch::default()
    };
    let admin = &lab.service().admin;
    let set = admin.set_client("nas-vpn", patch, None, lab.by()).await;
    set.unwrap();
}

fn code(counter: u64) -> String {
    code_of("alice", Digits::SIX, counter)
}

async fn said(lab: &Lab, reason: &str, failures: u32) {
    let event = lab.decision("alice").await;
    assert_eq!((event.reason.as_str(), event.failures), (reason, failures));
}

async fn pap(lab: &Lab, typed: &str, station: Option<IpAddr>) -> String {
    let heard = lab.radius("vpn", "alice", typed, None, station).await;
    heard.decision
}

async fn chap(lab: &Lab, typed: &str) -> Heard {
    let (_, heard) = lab
        .send("vpn", |request, _| {
            let challenge = [0x41; 16];
            let digest = Md5::new()
                .chain_update([7])
                .chain_update(typed)
                .chain_update(challenge)
                .finalize();
            let value = [&[7], digest.as_slice()].concat();
            request.attribute(Type::UserName, b"alice").unwrap();
            request
                .attribute(Type::CallingStationId, b"203.0.113.7")
                .unwrap();
            request.attribute(Type::ChapChallenge, &challenge).unwrap();
            request.attribute(Type::ChapPassword, &value).unwrap();
        })
        .await;
    heard
}

async fn ms_chap2(lab: &Lab, typed: &str) -> (Vec<u8>, Heard) {
    lab.send("vpn", |request, _| {
        let hashed = challenge_hash(&[3; 16], &[9; 16], b"alice");
        let response = challenge_response(hashed, &nt_password_hash(typed));
        let value = [&[7, 0][..], &[3; 16], &[0; 8], &response].concat();
        request.attribute(Type::UserName, b"alice").unwrap();
        request
            .attribute(Type::CallingStationId, b"203.0.113.7")
            .unwrap();
        request
            .vendor(microsoft::VENDOR, microsoft::CHALLENGE, &[9; 16])
            .unwrap();
        request
            .vendor(microsoft::VENDOR, microsoft::RESPONSE_2, &value)
            .unwrap();
    })
    .await
}

#[tokio::test]
async fn a_wrong_code_by_three_methods_is_one_failure() {
    let lab = lab().await;
    assert_eq!(pap(&lab, "000000", HERE).await, "reject");
    said(&lab, "wrong_code", 1).await;
    let (_, heard) = ms_chap2(&lab, "000000").await;
    assert_eq!(heard.decision, "reject");
    said(&lab, "repeated", 0).await;
    assert_eq!(chap(&lab, "000000").await.decision, "reject");
    said(&lab, "repeated", 0).await;
    // Another text is another attempt, by whatever method, and so is the same one later.
    assert_eq!(chap(&lab, "111111").await.decision, "reject");
    said(&lab, "wrong_code", 2).await;
    assert_eq!(pap(&lab, "000000", HERE).await, "reject");
    said(&lab, "wrong_code", 3).await;
    lab.clock.advance(Duration::from_secs(11));
    assert_eq!(pap(&lab, "000000", HERE).await, "reject");
    said(&lab, "wrong_code", 4).await;
    // A reject says nothing of the right code.
    assert_eq!(pap(&lab, &code(0), HERE).await, "accept");
}

#[tokio::test]
async fn a_gateway_behind_its_portal_is_let_in_by_the_same_code() {
    let lab = lab().await;
    assert_eq!(pap(&lab, &code(0), HERE).await, "accept");
    let first = lab.decision("alice").await;
    assert_eq!(first.reason.as_str(), "hotp_ok");
    assert_eq!(pap(&lab, &code(0), HERE).await, "accept");
    let again = lab.decision("alice").await;
    assert_eq!((again.reason.as_str(), again.step), ("repeated_ok", None));
    assert_eq!(again.serial, first.serial);
    let note = again.note.unwrap();
    assert!(note.contains(&first.request.to_string()), "{note}");
    // By another method too, and what proves the server is made of the same code.
    let (reply, heard) = ms_chap2(&lab, &code(0)).await;
    assert_eq!(heard.decision, "accept");
    let reply = Packet::parse(&reply).unwrap();
    assert!(reply.has(Type::VendorSpecific), "MS-CHAP2-Success");
    // Not without end.
    for _ in 0..5 {
        assert_eq!(pap(&lab, &code(0), HERE).await, "accept");
    }
    assert_eq!(pap(&lab, &code(0), HERE).await, "reject");
    said(&lab, "used_code", 0).await;
    assert_eq!(lab.last("alice"), Some(0), "one consumption");
}

#[tokio::test]
async fn no_one_else_is_let_in() {
    let lab = lab().await;
    // No Calling-Station-Id, another one, another user, another client, later.
    assert_eq!(pap(&lab, &code(0), None).await, "accept");
    assert_eq!(pap(&lab, &code(0), None).await, "reject");
    assert_eq!(pap(&lab, &code(1), HERE).await, "accept");
    assert_eq!(pap(&lab, &code(1), ELSEWHERE).await, "reject");
    said(&lab, "used_code", 0).await;
    let bob = lab.radius("vpn", "bob", &code(1), None, HERE).await;
    assert_eq!(bob.decision, "reject");
    let other = lab.radius("other", "alice", &code(1), None, HERE).await;
    assert_eq!(other.decision, "reject");
    assert_eq!(
        pap(&lab, &code(1), HERE).await,
        "accept",
        "its owner still is"
    );
    assert_eq!(pap(&lab, &code(2), HERE).await, "accept");
    lab.clock.advance(Duration::from_secs(11));
    assert_eq!(pap(&lab, &code(2), HERE).await, "reject");
    // Where it is off, the second packet finds the code used up.
    window(&lab, 0).await;
    assert_eq!(pap(&lab, &code(3), HERE).await, "accept");
    assert_eq!(pap(&lab, &code(3), HERE).await, "reject");
}

#[tokio::test]
async fn what_has_changed_since_ends_it() {
    let lab = lab().await;
    assert_eq!(pap(&lab, &code(0), HERE).await, "accept");
    lab.change(
        "PATCH",
        "/v1/admin/users/alice",
        json!({ "disabled": true }),
    )
    .await;
    assert_eq!(pap(&lab, &code(0), HERE).await, "reject");
    said(&lab, "user_disabled", 0).await;
    lab.change(
        "PATCH",
        "/v1/admin/users/alice",
        json!({ "disabled": false }),
    )
    .await;
    assert_eq!(pap(&lab, &code(1), HERE).await, "accept");
    // A rule that asks for more is not passed by an accept of another.
    let (_, heard) = lab
        .send("vpn", |request, keys| {
            request.attribute(Type::UserName, b"alice").unwrap();
            request
                .attribute(Type::CallingStationId, b"203.0.113.7")
                .unwrap();
            request
                .attribute(Type::NasPortType, &15_u32.to_be_bytes())
                .unwrap();
            request.user_password(code(1).as_bytes(), keys).unwrap();
        })
        .await;
    assert_eq!(heard.decision, "reject");
    let tokens = lab.admin("GET", "/v1/admin/users/alice").await;
    let serial = tokens["tokens"][0]["serial"].as_str().unwrap().to_owned();
    assert_eq!(pap(&lab, &code(2), HERE).await, "accept");
    let path = format!("/v1/admin/tokens/{serial}/suspend");
    lab.change("POST", &path, json!({})).await;
    assert_eq!(pap(&lab, &code(2), HERE).await, "reject");
}

/// An Access-Request of alice from here, by PAP, with these attributes beside.
async fn with(lab: &Lab, typed: &str, more: &[(Type, &[u8])]) -> String {
    let (_, heard) = lab
        .send("vpn", |request, keys| {
            request.attribute(Type::UserName, b"alice").unwrap();
            request
                .attribute(Type::CallingStationId, b"203.0.113.7")
                .unwrap();
            for (kind, value) in more {
                request.attribute(*kind, value).unwrap();
            }
            request.user_password(typed.as_bytes(), keys).unwrap();
        })
        .await;
    heard.decision
}

#[tokio::test]
async fn another_nas_behind_the_same_client_is_another_asker() {
    let lab = lab().await;
    let one: &[(Type, &[u8])] = &[
        (Type::NasIpAddress, &[10, 0, 0, 1]),
        (Type::NasIdentifier, b"gw-1"),
    ];
    let address: &[(Type, &[u8])] = &[
        (Type::NasIpAddress, &[10, 0, 0, 2]),
        (Type::NasIdentifier, b"gw-1"),
    ];
    let name: &[(Type, &[u8])] = &[
        (Type::NasIpAddress, &[10, 0, 0, 1]),
        (Type::NasIdentifier, b"gw-2"),
    ];
    let six: &[(Type, &[u8])] = &[(Type::NasIpv6Address, &[7; 16])];
    assert_eq!(with(&lab, &code(0), one).await, "accept");
    for other in [address, name, six, &[]] {
        assert_eq!(with(&lab, &code(0), other).await, "reject", "{other:?}");
        said(&lab, "used_code", 0).await;
    }
    // From another port, with another NAS-Port, it is the same.
    let port: &[(Type, &[u8])] = &[one[0], one[1], (Type::NasPort, &[0, 0, 0, 9])];
    assert_eq!(with(&lab, &code(0), port).await, "accept");
    said(&lab, "repeated_ok", 0).await;
    assert_eq!(with(&lab, "000000", one).await, "reject");
    assert_eq!(with(&lab, "000000", name).await, "reject");
    said(&lab, "wrong_code", 2).await;
}

type Change<'c> = std::pin::Pin<Box<dyn Future<Output = ()> + 'c>>;

/// Whether the accept of a code is given again after a change.
async fn is_again(lab: &Lab, typed: &str, change: Change<'_>) -> bool {
    assert_eq!(pap(lab, typed, HERE).await, "accept", "{typed}");
    change.await;
    let again = pap(lab, typed, HERE).await == "accept";
    let reason = lab.decision("alice").await.reason;
    assert_eq!(reason.as_str() == "repeated_ok", again, "{reason:?}");
    again
}

#[tokio::test]
async fn records_that_it_rested_on_end_it_when_they_change() {
    const KNOWS: &str =
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n";
    let lab = Lab::new(&[("vpn", KNOWS), ("other", OTP)]).await;
    lab.user("alice", None, Some("correct horse")).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    window(&lab, 10).await;
    let typed = |word: &str, counter| format!("{word}{}", code(counter));
    let (first, second) = ("correct horse", "another horse");
    assert!(is_again(&lab, &typed(first, 0), Box::pin(async {})).await);
    // Groups, though the same rule applies.
    let groups = lab.groups("alice", &["staff"]);
    assert!(!is_again(&lab, &typed(first, 1), Box::pin(groups)).await);
    // Another password.
    let password = async {
        let text = NewVerifier::Text(second.into());
        let patch = CredentialsPatch {
            password: Some(text),
            ..CredentialsPatch::default()
        };
        lab.set("alice", patch).await;
    };
    assert!(!is_again(&lab, &typed(first, 2), Box::pin(password)).await);
    // Disabled and enabled again: that was meant to end it.
    let status = async {
        for disabled in [true, false] {
            let set = json!({ "disabled": disabled });
            lab.change("PATCH", "/v1/admin/users/alice", set).await;
        }
    };
    assert!(!is_again(&lab, &typed(second, 3), Box::pin(status)).await);
    // Another text of the policy.
    let text = async {
        let more = format!("{KNOWS}[reply]\n\"Filter-Id\" = \"inside\"\n");
        lab.edit(&[("vpn", &more), ("other", OTP), ("default", OTP)]);
    };
    assert!(!is_again(&lab, &typed(second, 4), Box::pin(text)).await);
    let client = async {
        window(&lab, 20).await;
    };
    assert!(!is_again(&lab, &typed(second, 5), Box::pin(client)).await);
    // What is changed of another user does not.
    let other = async {
        lab.user("bob", None, None).await;
        lab.groups("bob", &["staff"]).await;
    };
    assert!(is_again(&lab, &typed(second, 6), Box::pin(other)).await);
}

#[tokio::test]
async fn a_first_code_opens_portal_and_gateway() {
    let lab = lab().await;
    lab.user("carol", None, None).await;
    let new = NewToken {
        user: key("carol"),
        kind: Kind::Hotp,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: Some(SecretBytes::new(octets("carol", Digits::SIX))),
        counter: 0,
        active: false,
        serial: None,
    };
    let made = lab.service().admin.add_token(new, lab.by()).await;
    made.unwrap();
    let first = code_of("carol", Digits::SIX, 0);
    for reason in ["hotp_ok", "repeated_ok"] {
        let heard = lab.radius("vpn", "carol", &first, None, HERE).await;
        assert_eq!(heard.decision, "accept");
        assert_eq!(lab.decision("carol").await.reason.as_str(), reason);
    }
}

#[tokio::test]
async fn packets_at_once_are_one_attempt_and_all_are_answered() {
    let lab = lab().await;
    let eight = |typed: String, station| {
        let lab = &lab;
        async move {
            let all = (0..8).map(|_| lab.heard("vpn", "alice", &typed, None, station));
            let all = futures_util::future::join_all(all).await;
            let said = |one: Option<Heard>| one.map(|heard| heard.decision);
            all.into_iter().map(said).collect::<Vec<_>>()
        }
    };
    let all = |decision: &str| vec![Some(decision.to_owned()); 8];
    assert_eq!(eight(code(0), HERE).await, all("accept"));
    assert_eq!(lab.last("alice"), Some(0), "one consumption");
    said(&lab, "repeated_ok", 0).await;
    assert_eq!(eight("000000".to_owned(), HERE).await, all("reject"));
    said(&lab, "repeated", 0).await;
    assert_eq!(pap(&lab, "111111", HERE).await, "reject");
    said(&lab, "wrong_code", 2).await;
    // An accept that names no place is for one packet: the others get no answer, as retransmissions do.
    let answers = eight(code(1), None).await;
    let accepts = answers.iter().flatten().filter(|one| *one == "accept");
    assert_eq!(accepts.count(), 1, "{answers:?}");
    assert_eq!(lab.last("alice"), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_set_by_profile_and_bounded() {
    let lab = lab().await;
    let add = |name: &str, address: &str, profile: &str| json!({ "kind": "radius", "name": name, "addresses": [address], "profile": profile });
    for (name, address, profile, secs) in [
        ("forti", "192.0.2.1", "fortigate", 10),
        ("palo", "192.0.2.2", "globalprotect", 10),
        ("plain", "192.0.2.3", "generic", 0),
    ] {
        lab.change("POST", "/v1/admin/clients", add(name, address, profile))
            .await;
        let shown = lab.admin("GET", &format!("/v1/admin/clients/{name}")).await;
        assert_eq!(shown["retry_window_secs"], secs, "{shown}");
    }
    let console = lab.console().await;
    let set = |value: &'static str| ["client", "set", "forti", "--retry-window", value];
    let shown = console.json(&set("off"));
    assert_eq!(shown["retry_window_secs"], 0);
    assert_eq!(console.json(&set("30s"))["retry_window_secs"], 30);
    for bad in ["31s", "1h", "never", ""] {
        let (exit, _, error) = console.run(&set(bad), "");
        assert_eq!(exit, 2, "{bad}: {error}");
        assert!(error.contains("--retry-window"), "{bad}: {error}");
    }
}
