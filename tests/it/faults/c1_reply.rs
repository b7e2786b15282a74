//! Fault C1: what the wire says, the audit says, also where the policy's reply does not fit a packet.

use oncegate::diagnostic::{Severity, Source};
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::policy::Policies;
use oncegate::radius::attribute::Type;
use oncegate::radius::dictionary::{Dictionary, known_attribute};
use oncegate::radius::packet::Packet;
use serde_json::json;

use crate::support::lab::{Heard, Lab};

fn policy(require: &str, reply: &str) -> String {
    format!("reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [{require}]\n{reply}\n")
}

async fn lab(require: &str, reply: &str) -> Lab {
    let lab = Lab::new(&[("vpn", &policy(require, reply))]).await;
    lab.user("alice", None, Some("correct horse 9")).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab
}

/// A login with so many Proxy-States of so many octets.
async fn login(lab: &Lab, typed: &str, states: &[usize]) -> (Vec<u8>, Heard) {
    lab.send("vpn", |request, keys| {
        request.attribute(Type::UserName, b"alice").unwrap();
        request.user_password(typed.as_bytes(), keys).unwrap();
        for (number, length) in states.iter().enumerate() {
            let octet = u8::try_from(number % 256).unwrap();
            let state = vec![octet; *length];
            request.attribute(Type::ProxyState, &state).unwrap();
        }
    })
    .await
}

fn values(reply: &[u8], r#type: Type) -> Vec<Vec<u8>> {
    let packet = Packet::parse(reply).unwrap();
    packet.all(r#type).map(<[u8]>::to_vec).collect()
}

#[tokio::test]
async fn a_value_that_is_too_long_is_found_before_the_code_is_used() {
    let lab = lab("\"otp\"", "[reply]\n\"Filter-Id\" = \"{group}\"").await;
    lab.groups("alice", &["g".repeat(254).as_str()]).await;
    let code = lab.code("alice");
    let (_, heard) = login(&lab, &code, &[]).await;
    assert_eq!(heard.decision, "reject");
    let event = lab.decision("alice").await;
    assert_eq!(event.decision.as_str(), "reject");
    assert_eq!(event.reason.as_str(), "reply_too_long");
    assert!(
        event.note.as_deref().unwrap().contains("Filter-Id"),
        "{:?}",
        event.note
    );
    assert_eq!((event.failures, lab.last("alice")), (0, None));
    // The same code, once it fits.
    lab.groups("alice", &["g".repeat(253).as_str()]).await;
    let (reply, heard) = login(&lab, &code, &[]).await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(values(&reply, Type::FilterId), [vec![b'g'; 253]]);
}

/// A variant: one octet of a vendor's attribute too much.
#[tokio::test]
async fn a_vendors_attribute_holds_six_octets_less() {
    let lab = lab("\"otp\"", "[reply]\n\"Cisco-AVPair\" = \"{group}\"").await;
    for (length, word) in [(248, "reply_too_long"), (247, "totp_ok")] {
        lab.groups("alice", &["g".repeat(length).as_str()]).await;
        let (_, heard) = login(&lab, &lab.code("alice"), &[]).await;
        let event = lab.decision("alice").await;
        assert_eq!(event.reason.as_str(), word, "{length}");
        assert_eq!(event.decision.as_str(), heard.decision, "{length}");
    }
}

/// A variant: at no size do wire and audit differ, and a refused code is still good.
#[tokio::test]
async fn wire_and_audit_agree_at_every_size_of_proxy_state() {
    let value = "c".repeat(250);
    let lab = lab("\"otp\"", &format!("[reply]\n\"Class\" = \"{value}\"")).await;
    let mut words = Vec::new();
    for last in (0..=250).step_by(10).chain([251, 252, 253]) {
        let code = lab.code("alice");
        let mut states = vec![253; 14];
        states.push(last);
        let (reply, heard) = login(&lab, &code, &states).await;
        let event = lab.decision("alice").await;
        assert_eq!(event.decision.as_str(), heard.decision, "{last}");
        let back = values(&reply, Type::ProxyState);
        assert_eq!(back.iter().map(Vec::len).collect::<Vec<_>>(), states);
        if heard.decision == "reject" {
            assert_eq!(event.reason.as_str(), "reply_too_long");
            let (_, heard) = login(&lab, &code, &[]).await;
            assert_eq!(heard.decision, "accept", "{last}");
        }
        words.push(event.reason.as_str());
        lab.clock.advance(std::time::Duration::from_secs(30));
    }
    assert!(words.contains(&"totp_ok") && words.contains(&"reply_too_long"));
}

#[tokio::test]
async fn a_long_text_for_the_person_is_split_between_characters() {
    let text = "\u{be44}\u{bc00}\u{bc88}\u{d638}\u{ac00} \u{acf3} \u{b9cc}\u{b8cc}. ".repeat(24);
    let lab = lab(
        "\"otp\"",
        &format!("[reply]\n\"Reply-Message\" = \"{text}\""),
    )
    .await;
    let (reply, heard) = login(&lab, &lab.code("alice"), &[20; 31]).await;
    assert_eq!(heard.decision, "accept");
    let pieces = values(&reply, Type::ReplyMessage);
    assert!(pieces.len() > 2, "{}", pieces.len());
    for piece in &pieces {
        assert!(piece.len() <= 253 && std::str::from_utf8(piece).is_ok());
    }
    assert_eq!(pieces.concat(), text.as_bytes());
    assert_eq!(values(&reply, Type::ProxyState).len(), 31);
    assert_eq!(lab.decision("alice").await.note, None);
}

#[tokio::test]
async fn text_without_room_is_left_out_and_the_audit_says_so() {
    let reply = format!(
        "[reply]\n\"Reply-Message\" = \"{}\"\n\"Filter-Id\" = \"staff\"",
        "t".repeat(600)
    );
    let lab = lab("\"otp\"", &reply).await;
    let (reply, heard) = login(&lab, &lab.code("alice"), &[253; 14]).await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(values(&reply, Type::FilterId), [b"staff"]);
    assert!(values(&reply, Type::ReplyMessage).is_empty());
    let event = lab.decision("alice").await;
    assert_eq!(event.reason.as_str(), "totp_ok");
    assert!(event.note.as_deref().unwrap().contains("Reply-Message"));
    let page = lab
        .admin("GET", &format!("/v1/admin/explain/{}", event.request))
        .await;
    let note = &page["records"][0]["record"]["note"];
    assert!(note.as_str().unwrap().contains("Reply-Message"), "{page}");
}

#[tokio::test]
async fn a_challenge_keeps_its_state_and_loses_its_words() {
    let text = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\n\
                require = [\"password\", \"otp\"]\npresent = \"challenge\"\n";
    let lab = Lab::new(&[("vpn", text)]).await;
    lab.user("alice", None, Some("correct horse 9")).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    let mut seen = std::collections::BTreeSet::new();
    for last in (0..=250).step_by(5) {
        let mut states = vec![253; 15];
        states.push(last);
        let (reply, heard) = login(&lab, "correct horse 9", &states).await;
        let event = lab.decision("alice").await;
        assert_eq!(event.decision.as_str(), heard.decision, "{last}");
        let words = !values(&reply, Type::ReplyMessage).is_empty();
        seen.insert((heard.decision.clone(), words));
        if let Some(state) = heard.challenge {
            assert_eq!(state.len(), 48);
        } else {
            assert_eq!(event.reason.as_str(), "reply_too_long");
            assert_eq!(event.failures, 0);
        }
        if last >= 200 {
            break;
        }
    }
    let all = [("challenge", false), ("challenge", true), ("reject", false)];
    let all = all.map(|(word, words)| (word.to_owned(), words));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

/// Over HTTP a value has no such limit, and nothing is left out.
#[tokio::test]
async fn http_carries_what_a_packet_cannot() {
    let lab = lab("\"otp\"", "[reply]\n\"Filter-Id\" = \"{group}\"").await;
    lab.groups("alice", &["g".repeat(256).as_str()]).await;
    let body = json!({"user": "alice", "otp": lab.code("alice")});
    let heard = lab.http("vpn", body).await;
    assert_eq!(heard.decision, "accept");
    let value = &heard.body["attributes"]["Filter-Id"];
    assert_eq!(value.as_str().unwrap().len(), 256);
}

#[test]
fn a_policy_that_may_not_fit_is_named_when_it_is_checked() {
    let dictionary = Dictionary::builtin().unwrap();
    let known = known_attribute(&dictionary);
    let warnings = |reply: &str| {
        let source = Source::new("policies/vpn.toml", policy("\"otp\"", reply));
        let policies = Policies::parse(&[source], &known).unwrap();
        let found = policies.warnings().iter();
        found
            .map(|found| {
                assert_eq!(found.severity, Severity::Warning);
                found.to_string()
            })
            .collect::<Vec<_>>()
    };
    let found = warnings("[reply]\n\"Filter-Id\" = \"{group}\"");
    assert!(found[0].contains("Filter-Id"), "{found:?}");
    assert!(found[0].contains("vpn.toml:6"), "{found:?}");
    let found = warnings("[reply]\n\"Cisco-AVPair\" = \"shell:roles={attribute.Class}\"");
    assert_eq!(found.len(), 1);
    assert!(warnings("[reply]\n\"Filter-Id\" = \"{token}\"").is_empty());
    assert!(warnings("[reply]\n\"Reply-Message\" = \"Welcome {user}@{realm}\"").is_empty());
}
