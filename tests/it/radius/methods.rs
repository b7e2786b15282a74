//! CHAP and MS-CHAP: what they show is compared with the codes that are right, and nothing else changes.

use md5::{Digest as _, Md5};
use oncegate::admin::ClientPatch;
use oncegate::model::kind::Kind;
use oncegate::model::method::Allowed;
use oncegate::otp::{Digits, recovery};
use oncegate::radius::attribute::Type;
use oncegate::radius::microsoft;
use oncegate::radius::mschap::{
    authenticator_response, challenge_hash, challenge_response, nt_password_hash,
};
use oncegate::radius::packet::Packet;
use serde_json::json;

use crate::support::lab::{Heard, Lab, code_of};
use crate::support::postbox::{issued_token, octets};

const OTP: &str =
    "reject_delay = \"0s\"\n[lockout]\nfree = 10\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
const PIN: &str = "reject_delay = \"0s\"\n[lockout]\nfree = 10\n[pin]\nrecoverable = true\n\
                   [[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n";
const HASHED: &str =
    "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n";
const BY_METHOD: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"ms\"\n\
                         when = { method = [\"mschap\", \"mschapv2\"] }\nrequire = [\"otp\"]\n";

const IDENT: u8 = 7;

async fn lab() -> Lab {
    let lab = Lab::new(&[
        ("vpn", OTP),
        ("pin", PIN),
        ("hashed", HASHED),
        ("ms", BY_METHOD),
    ])
    .await;
    lab.user("alice", Some("928374"), None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    lab
}

async fn chap(lab: &Lab, policy: &str, user: &str, typed: &str) -> Heard {
    let (_, heard) = lab
        .send(policy, |request, _| {
            let challenge = [0x41; 16];
            let digest = Md5::new()
                .chain_update([IDENT])
                .chain_update(typed)
                .chain_update(challenge)
                .finalize();
            request.attribute(Type::UserName, user.as_bytes()).unwrap();
            request.attribute(Type::ChapChallenge, &challenge).unwrap();
            let value = [&[IDENT], digest.as_slice()].concat();
            request.attribute(Type::ChapPassword, &value).unwrap();
        })
        .await;
    heard
}

async fn ms_chap(lab: &Lab, policy: &str, user: &str, typed: &str) -> (Vec<u8>, Heard) {
    lab.send(policy, |request, _| {
        let response = challenge_response([9; 8], &nt_password_hash(typed));
        let value = [&[IDENT, 1][..], &[0; 24], &response].concat();
        request.attribute(Type::UserName, user.as_bytes()).unwrap();
        request
            .vendor(microsoft::VENDOR, microsoft::CHALLENGE, &[9; 8])
            .unwrap();
        request
            .vendor(microsoft::VENDOR, microsoft::RESPONSE, &value)
            .unwrap();
    })
    .await
}

fn hashed_challenge(user: &str) -> [u8; 8] {
    challenge_hash(&[3; 16], &[9; 16], user.as_bytes())
}

async fn ms_chap2(lab: &Lab, policy: &str, user: &str, typed: &str) -> (Vec<u8>, Heard) {
    lab.send(policy, |request, _| {
        let response = challenge_response(hashed_challenge(user), &nt_password_hash(typed));
        let value = [&[IDENT, 0][..], &[3; 16], &[0; 8], &response].concat();
        request.attribute(Type::UserName, user.as_bytes()).unwrap();
        request
            .vendor(microsoft::VENDOR, microsoft::CHALLENGE, &[9; 16])
            .unwrap();
        request
            .vendor(microsoft::VENDOR, microsoft::RESPONSE_2, &value)
            .unwrap();
    })
    .await
}

fn code(counter: u64) -> String {
    code_of("alice", Digits::SIX, counter)
}

async fn said(lab: &Lab, reason: &str, method: &str) {
    let event = lab.decision("alice").await;
    assert_eq!((event.reason.as_str(), &*event.method), (reason, method));
}

#[tokio::test]
async fn a_code_is_accepted_once_whatever_method_it_came_by() {
    let lab = lab().await;
    assert_eq!(
        chap(&lab, "vpn", "alice", &code(0)).await.decision,
        "accept"
    );
    said(&lab, "hotp_ok", "chap").await;
    // The same code: a replay, which is no failure, by every method.
    assert_eq!(
        chap(&lab, "vpn", "alice", &code(0)).await.decision,
        "reject"
    );
    said(&lab, "used_code", "chap").await;
    assert_eq!(
        ms_chap2(&lab, "vpn", "alice", &code(0)).await.1.decision,
        "reject"
    );
    said(&lab, "used_code", "mschapv2").await;
    assert_eq!(
        lab.radius("vpn", "alice", &code(0), None, None)
            .await
            .decision,
        "reject"
    );
    assert_eq!(lab.decision("alice").await.failures, 0);
    // The look-ahead is the policy's.
    assert_eq!(
        ms_chap(&lab, "vpn", "alice", &code(6)).await.1.decision,
        "accept"
    );
    said(&lab, "hotp_ok", "mschap").await;
    assert_eq!(lab.last("alice"), Some(6));
    assert_eq!(
        chap(&lab, "vpn", "alice", &code(13)).await.decision,
        "reject"
    );
    said(&lab, "wrong_code", "chap").await;
}

#[tokio::test]
async fn wrong_responses_are_counted_and_lock() {
    let lab = lab().await;
    for failures in 1..=10 {
        assert_eq!(
            chap(&lab, "vpn", "alice", "000001").await.decision,
            "reject"
        );
        said(&lab, "wrong_code", "chap").await;
        assert_eq!(lab.decision("alice").await.failures, failures);
    }
    assert_eq!(
        chap(&lab, "vpn", "alice", &code(0)).await.decision,
        "reject"
    );
    said(&lab, "locked", "chap").await;
}

#[tokio::test]
async fn ms_chap_proves_that_the_server_knows_the_code() {
    let lab = lab().await;
    let (reply, _) = ms_chap2(&lab, "vpn", "alice", &code(0)).await;
    let packet = Packet::parse(&reply).unwrap();
    let success = microsoft::find(&packet, microsoft::SUCCESS_2).unwrap();
    let hash = nt_password_hash(&code(0));
    let response = challenge_response(hashed_challenge("alice"), &hash);
    let proof = authenticator_response(&hash, &response, hashed_challenge("alice"));
    let text = format!("S={}", data_encoding::HEXUPPER.encode(&proof));
    assert_eq!(success, [&[IDENT], text.as_bytes()].concat());
    for number in [16, 17] {
        assert_eq!(
            microsoft::find(&packet, number).unwrap().len(),
            34,
            "{number}"
        );
    }
    let (reply, _) = ms_chap2(&lab, "vpn", "alice", "000001").await;
    let packet = Packet::parse(&reply).unwrap();
    let error = microsoft::find(&packet, microsoft::ERROR).unwrap();
    assert!(error.starts_with(b"\x07E=691 R=0 C="), "{error:?}");
    assert_eq!(microsoft::find(&packet, microsoft::SUCCESS_2), None);
    let (reply, _) = ms_chap(&lab, "vpn", "alice", &code(1)).await;
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(microsoft::find(&packet, 12).unwrap().len(), 32);
    // Nothing tells an unknown user, or a locked one, from a wrong code.
    let (reply, _) = ms_chap2(&lab, "vpn", "nobody", "000001").await;
    let unknown = Packet::parse(&reply).unwrap();
    assert!(microsoft::find(&unknown, microsoft::ERROR).is_some());
}

#[tokio::test]
async fn a_pin_is_looked_at_only_where_it_is_kept() {
    let lab = lab().await;
    let joined = |counter| format!("928374{}", code(counter));
    assert_eq!(
        chap(&lab, "pin", "alice", &joined(0)).await.decision,
        "accept"
    );
    said(&lab, "hotp_ok", "chap").await;
    let (_, comma) = ms_chap2(&lab, "pin", "alice", &format!("928374,{}", code(1))).await;
    assert_eq!(comma.decision, "accept");
    let wrong = format!("111111{}", code(2));
    assert_eq!(chap(&lab, "pin", "alice", &wrong).await.decision, "reject");
    said(&lab, "wrong_code", "chap").await;
    assert_eq!(
        chap(&lab, "pin", "alice", &code(2)).await.decision,
        "reject"
    );
    assert_eq!(
        chap(&lab, "pin", "alice", "928374").await.decision,
        "reject"
    );
    assert_eq!(lab.last("alice"), Some(1));
    // The policy of this client does not look at it.
    assert_eq!(
        chap(&lab, "hashed", "alice", &joined(2)).await.decision,
        "reject"
    );
    said(&lab, "method_not_allowed", "chap").await;
    assert_eq!(lab.last("alice"), Some(1));
    let pap = lab.radius("hashed", "alice", &joined(2), None, None).await;
    assert_eq!(pap.decision, "accept");
}

#[tokio::test]
async fn a_client_and_a_rule_say_which_methods_they_take() {
    let lab = lab().await;
    let (_, heard) = ms_chap(&lab, "ms", "alice", &code(0)).await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(chap(&lab, "ms", "alice", &code(1)).await.decision, "reject");
    said(&lab, "no_rule", "chap").await;
    let patch = ClientPatch {
        methods: Some(Allowed::parse(&["pap".to_owned()]).unwrap()),
        ..ClientPatch::default()
    };
    let admin = &lab.service().admin;
    admin
        .set_client("nas-vpn", patch, None, lab.by())
        .await
        .unwrap();
    assert_eq!(
        chap(&lab, "vpn", "alice", &code(1)).await.decision,
        "reject"
    );
    said(&lab, "method_not_allowed", "chap").await;
    let shown = lab.admin("GET", "/v1/admin/clients/nas-vpn").await;
    assert_eq!(shown["methods"], json!(["pap"]));
    let pap = lab.radius("vpn", "alice", &code(1), None, None).await;
    assert_eq!(pap.decision, "accept");
}

#[tokio::test]
async fn what_is_no_response_is_refused_and_not_counted() {
    let lab = lab().await;
    for (length, number, challenge) in [
        (0, 25, 16),
        (1, 25, 16),
        (49, 25, 16),
        (50, 25, 8),
        (50, 25, 0),
        (49, 1, 8),
        (50, 1, 16),
        (245, 25, 16),
    ] {
        let (_, heard) = lab
            .send("vpn", |request, _| {
                request.attribute(Type::UserName, b"alice").unwrap();
                request.vendor(311, 11, &vec![9; challenge]).unwrap();
                request.vendor(311, number, &vec![1; length]).unwrap();
            })
            .await;
        assert_eq!(heard.decision, "reject");
        let event = lab.decision("alice").await;
        assert_eq!(
            (event.reason.as_str(), event.failures),
            ("malformed_code", 0),
            "{length}"
        );
    }
    for length in [0, 1, 16, 18, 253] {
        let (_, heard) = lab
            .send("vpn", |request, _| {
                request.attribute(Type::UserName, b"alice").unwrap();
                request
                    .attribute(Type::ChapPassword, &vec![7; length])
                    .unwrap();
            })
            .await;
        assert_eq!(heard.decision, "reject");
        let event = lab.decision("alice").await;
        assert_eq!(
            (event.reason.as_str(), event.failures),
            ("malformed_code", 0),
            "{length}"
        );
    }
}

#[tokio::test]
async fn codes_that_were_sent_cannot_be_told() {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
                  present = \"challenge\"\n";
    let lab = Lab::new(&[("vpn", policy)]).await;
    lab.user("alice", None, Some("Tr0ub4dor&3x")).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    // A password first: it is kept hashed.
    assert_eq!(
        chap(&lab, "vpn", "alice", "Tr0ub4dor&3x").await.decision,
        "reject"
    );
    said(&lab, "method_not_allowed", "chap").await;
    // The code of the second round may come by CHAP.
    let first = lab.radius("vpn", "alice", "Tr0ub4dor&3x", None, None).await;
    let state = first.challenge.unwrap();
    let (_, second) = lab
        .send("vpn", |request, _| {
            let digest = Md5::digest([&[IDENT], code(0).as_bytes(), &[5; 16]].concat());
            request.attribute(Type::UserName, b"alice").unwrap();
            request.attribute(Type::State, state.as_bytes()).unwrap();
            request.attribute(Type::ChapChallenge, &[5; 16]).unwrap();
            let value = [&[IDENT], digest.as_slice()].concat();
            request.attribute(Type::ChapPassword, &value).unwrap();
        })
        .await;
    assert_eq!(second.decision, "accept");
    said(&lab, "hotp_ok", "chap").await;
}

/// With a sheet in the hand, the PIN is guessed: each try counts, as by PAP.
#[tokio::test]
async fn guesses_beside_a_recovery_code_are_counted() {
    let lab = Lab::new(&[("pin", &format!("{PIN}alternatives = [\"recovery\"]\n"))]).await;
    lab.user("rita", Some("928374"), None).await;
    issued_token(&lab, "rita", Kind::Recovery, "RECOVERY-1", "").await;
    let sheet = recovery::sheet(&octets("RECOVERY-1"), 10);
    let typed = |pin: &str, number: usize| format!("{pin}{}", sheet[number].expose());
    let right = chap(&lab, "pin", "rita", &typed("928374", 0)).await;
    assert_eq!(right.decision, "accept");
    for failures in 1..=10 {
        let heard = chap(&lab, "pin", "rita", &typed("111111", 1)).await;
        assert_eq!(heard.decision, "reject");
        let event = lab.decision("rita").await;
        assert_eq!(
            (event.reason.as_str(), event.failures),
            ("wrong_code", failures)
        );
    }
    let locked = chap(&lab, "pin", "rita", &typed("928374", 1)).await;
    assert_eq!(locked.decision, "reject");
    assert_eq!(lab.decision("rita").await.reason.as_str(), "locked");
}
