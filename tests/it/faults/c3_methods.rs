//! Fault C3: a credential of a method that is not taken is named as such, and the remedy is the NAS's.

use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::SecretKeys;
use oncegate::radius::packet::Packet;
use oncegate::radius::request::RequestBuilder;

use crate::support::lab::Lab;

const EAP_IDENTITY: [u8; 10] = [2, 77, 0, 10, 1, b'a', b'l', b'i', b'c', b'e'];

async fn lab() -> Lab {
    let policy = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let lab = Lab::new(&[("vpn", policy)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    lab
}

async fn ask(lab: &Lab, credential: impl FnOnce(&mut RequestBuilder<'_>, &SecretKeys)) -> Vec<u8> {
    let (reply, heard) = lab
        .send("vpn", |request, keys| {
            request.attribute(Type::UserName, b"alice").unwrap();
            credential(request, keys);
        })
        .await;
    assert_eq!(heard.decision, "reject");
    reply
}

async fn refused(lab: &Lab, method: &str) {
    let event = lab.decision("alice").await;
    assert_eq!(event.reason.as_str(), "method_not_allowed", "{method}");
    assert_eq!(&*event.method, method);
    assert_eq!(event.failures, 0, "{method}");
    let page = lab
        .admin("GET", &format!("/v1/admin/explain/{}", event.request))
        .await;
    let next = page["records"][0]["next"][0]["text"].as_str().unwrap();
    assert!(next.contains("PAP"), "{next}");
    assert!(!next.contains("person"), "{next}");
}

#[tokio::test]
async fn an_eap_peer_hears_a_failure_of_its_own_packet() {
    let lab = lab().await;
    // No identity begins a conversation here.
    let mut md5 = EAP_IDENTITY;
    md5[4] = 4;
    let reply = ask(&lab, |request, _| {
        request.attribute(Type::EapMessage, &md5).unwrap();
    })
    .await;
    refused(&lab, "eap").await;
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(packet.first(Type::EapMessage), Some(&[4, 77, 0, 4][..]));
    let first = packet.attributes.iter().next().unwrap();
    assert_eq!(first.r#type, Type::MessageAuthenticator);
    // A packet in two attributes.
    let (head, tail) = md5.split_at(5);
    let reply = ask(&lab, |request, _| {
        request.attribute(Type::EapMessage, head).unwrap();
        request.attribute(Type::EapMessage, tail).unwrap();
    })
    .await;
    let packet = Packet::parse(&reply).unwrap();
    assert_eq!(packet.all(Type::EapMessage).count(), 1);
    assert_eq!(packet.first(Type::EapMessage), Some(&[4, 77, 0, 4][..]));
}

#[tokio::test]
async fn none_and_two_are_said_to_be_so() {
    let lab = lab().await;
    ask(&lab, |_, _| {}).await;
    refused(&lab, "none").await;
    let code = lab.code("alice");
    ask(&lab, |request, keys| {
        request.user_password(code.as_bytes(), keys).unwrap();
        request.attribute(Type::ChapPassword, &[7; 17]).unwrap();
    })
    .await;
    refused(&lab, "mixed").await;
    ask(&lab, |request, keys| {
        request.attribute(Type::EapMessage, &EAP_IDENTITY).unwrap();
        request.user_password(code.as_bytes(), keys).unwrap();
    })
    .await;
    refused(&lab, "mixed").await;
    // A right code that came in such a request is not used up.
    let heard = lab.radius("vpn", "alice", &code, None, None).await;
    assert_eq!(heard.decision, "accept");
}

/// Nothing on the wire tells whether there is such a user.
#[tokio::test]
async fn an_unknown_user_hears_the_same() {
    let lab = lab().await;
    let mut seen = Vec::new();
    for user in ["alice", "nobody"] {
        let (_, heard) = lab
            .send("vpn", |request, _| {
                request.attribute(Type::UserName, user.as_bytes()).unwrap();
                request
                    .attribute(Type::EapMessage, &[2, 7, 0, 5, 4])
                    .unwrap();
            })
            .await;
        // Two silences would be alike, too.
        assert_eq!(heard.decision, "reject", "{user}");
        seen.push(heard.seen);
    }
    assert_eq!(seen[0], seen[1]);
}
