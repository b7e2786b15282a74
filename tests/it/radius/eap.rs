//! EAP: the methods that carry codes, what breaks them, and `eapol_test` as the peer that others wrote.

use std::process::Command;
use std::time::Duration;

use md5::{Digest as _, Md5};
use oncegate::admin::{ClientPatch, UserPatch};
use oncegate::model::kind::Kind;
use oncegate::model::method::Allowed;
use oncegate::otp::Digits;
use oncegate::radius::attribute::Type;
use oncegate::radius::microsoft;
use oncegate::radius::mschap::{challenge_hash, challenge_response, nt_password_hash};
use oncegate::radius::packet::Packet;
use oncegate::store::AuditQuery;

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Daemon, Site};
use crate::support::lab::{Lab, START, code_of, key};
use crate::support::require;

const OTP: &str =
    "reject_delay = \"0s\"\n[lockout]\nfree = 10\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
const TWO: &str = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"password\", \"otp\"]\n\
                   present = \"challenge\"\n";
const PASSWORD: &str = "Tr0ub4dor&3x";

async fn lab() -> Lab {
    let lab = Lab::new(&[("vpn", OTP), ("two", TWO)]).await;
    lab.user("alice", None, Some(PASSWORD)).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    lab
}

fn code(counter: u64) -> String {
    code_of("alice", Digits::SIX, counter)
}

/// One packet of a conversation, as the peer sees it.
struct Turn {
    decision: String,
    state: Option<String>,
    eap: Vec<u8>,
    reply: Vec<u8>,
}

impl Turn {
    /// Type and data of a request.
    fn request(&self) -> (u8, &[u8]) {
        assert_eq!((self.decision.as_str(), self.eap[0]), ("challenge", 1));
        let length = usize::from(u16::from_be_bytes([self.eap[2], self.eap[3]]));
        assert_eq!(length, self.eap.len());
        (self.eap[4], &self.eap[5..])
    }
}

async fn send(lab: &Lab, policy: &str, state: Option<&str>, octets: &[u8]) -> Turn {
    let (reply, heard) = lab
        .send(policy, |request, _| {
            request.attribute(Type::UserName, b"alice").unwrap();
            if let Some(state) = state {
                request.attribute(Type::State, state.as_bytes()).unwrap();
            }
            for part in octets.chunks(253) {
                request.attribute(Type::EapMessage, part).unwrap();
            }
            if octets.is_empty() {
                request.attribute(Type::EapMessage, b"").unwrap();
            }
        })
        .await;
    let packet = Packet::parse(&reply).unwrap();
    let eap: Vec<u8> = packet.all(Type::EapMessage).flatten().copied().collect();
    // RFC 3579 s2.6.3: what the packet is, and what is inside, say the same.
    let inside = match heard.decision.as_str() {
        "accept" => 3,
        // RFC 3579 s2.6.2: who asks us hears a Nak.
        "reject" if octets.first() == Some(&1) => 2,
        "reject" => 4,
        _ => 1,
    };
    assert_eq!(eap[0], inside, "{}", heard.decision);
    Turn {
        decision: heard.decision,
        state: heard.challenge,
        eap,
        reply,
    }
}

fn response(identifier: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 5).unwrap().to_be_bytes();
    [&[2, identifier, length[0], length[1], kind], data].concat()
}

/// The peer says who it is, and asks for this method.
async fn begun(lab: &Lab, policy: &str, kind: u8) -> Turn {
    let first = send(lab, policy, None, &response(7, 1, b"alice")).await;
    if first.request().0 == kind {
        return first;
    }
    let nak = response(first.eap[1], 3, &[kind]);
    send(lab, policy, first.state.as_deref(), &nak).await
}

async fn answer(lab: &Lab, policy: &str, to: &Turn, data: &[u8]) -> Turn {
    let octets = response(to.eap[1], to.request().0, data);
    send(lab, policy, to.state.as_deref(), &octets).await
}

async fn said(lab: &Lab, reason: &str, method: &str) {
    let event = lab.decision("alice").await;
    assert_eq!((event.reason.as_str(), &*event.method), (reason, method));
}

const MD5: u8 = 4;
const GTC: u8 = 6;
const MS_CHAP_2: u8 = 26;

#[tokio::test]
async fn a_token_card_is_asked_again_until_all_is_proven() {
    let lab = lab().await;
    let first = begun(&lab, "two", GTC).await;
    assert!(first.request().1.starts_with(b"Enter"));
    let second = answer(&lab, "two", &first, PASSWORD.as_bytes()).await;
    said(&lab, "challenged", "eap-gtc").await;
    assert_eq!(
        second.request(),
        (GTC, &b"Enter the code of your token"[..])
    );
    assert_eq!(second.state, first.state);
    let last = answer(&lab, "two", &second, code(0).as_bytes()).await;
    assert_eq!(last.decision, "accept");
    assert_eq!(last.eap, [3, second.eap[1], 0, 4]);
    said(&lab, "hotp_ok", "eap-gtc").await;
    let packet = Packet::parse(&last.reply).unwrap();
    assert_eq!(packet.first(Type::UserName), Some(&b"alice"[..]));
    // It is over: the same State begins nothing and ends nothing.
    let again = answer(&lab, "two", &second, code(1).as_bytes()).await;
    assert_eq!(again.decision, "reject");
    said(&lab, "method_not_allowed", "eap").await;
    assert_eq!(lab.last("alice"), Some(0));
}

#[tokio::test]
async fn a_reply_without_room_ends_the_conversation_and_leaves_no_place_behind() {
    let lab = lab().await;
    let first = send(&lab, "vpn", None, &response(7, 1, b"alice")).await;
    let nak = response(first.eap[1], 3, &[GTC]);
    let state = first.state.as_deref().unwrap();
    // 4,077 octets: the prompt for a code does not fit beside what a proxy wants back.
    let sent = lab.sent("vpn", |request, _| {
        request.attribute(Type::UserName, b"alice").unwrap();
        request.attribute(Type::State, state.as_bytes()).unwrap();
        request.attribute(Type::EapMessage, &nak).unwrap();
        for length in [[253; 15].as_slice(), &[173]].concat() {
            let value = vec![b'p'; length];
            request.attribute(Type::ProxyState, &value).unwrap();
        }
    });
    assert!(sent.await.is_none());
    let again = send(&lab, "vpn", Some(state), &nak).await;
    assert_eq!(again.decision, "reject", "not silence for two minutes");
}

#[tokio::test]
async fn md5_is_chap_with_the_identifier_of_the_packet() {
    let lab = lab().await;
    for (counter, decision) in [(0, "accept"), (0, "reject"), (1, "accept")] {
        let asked = begun(&lab, "vpn", MD5).await;
        let (_, data) = asked.request();
        assert_eq!(data[0], 16);
        let digest = Md5::new()
            .chain_update([asked.eap[1]])
            .chain_update(code(counter))
            .chain_update(&data[1..17])
            .finalize();
        let value = [&[16], digest.as_slice(), b"alice"].concat();
        let last = answer(&lab, "vpn", &asked, &value).await;
        assert_eq!(last.decision, decision, "{counter}");
    }
    assert_eq!(lab.last("alice"), Some(1));
    assert_eq!(&*lab.decision("alice").await.method, "eap-md5");
}

fn ms_chap2(asked: &Turn, typed: &str) -> Vec<u8> {
    let (_, data) = asked.request();
    let challenge: [u8; 16] = data[5..21].try_into().unwrap();
    let hash = challenge_hash(&[3; 16], &challenge, b"alice");
    let answer = challenge_response(hash, &nt_password_hash(typed));
    let value = [&[49], &[3; 16][..], &[0; 8], &answer, &[0], b"alice"].concat();
    let length = u16::try_from(value.len() + 4).unwrap().to_be_bytes();
    [&[2, data[1], length[0], length[1]], &value[..]].concat()
}

#[tokio::test]
async fn ms_chap2_says_who_it_is_before_the_peer_believes_it() {
    let lab = lab().await;
    let asked = begun(&lab, "vpn", MS_CHAP_2).await;
    let proof = answer(&lab, "vpn", &asked, &ms_chap2(&asked, &code(0))).await;
    let (_, data) = proof.request();
    assert_eq!(data[0], 3);
    assert!(
        data[4..].starts_with(b"S=") && data.ends_with(b"M=OK"),
        "{data:?}"
    );
    said(&lab, "hotp_ok", "eap-mschapv2").await;
    let last = answer(&lab, "vpn", &proof, &[3]).await;
    assert_eq!(last.decision, "accept");
    let packet = Packet::parse(&last.reply).unwrap();
    assert!(microsoft::find(&packet, 16).is_some() && microsoft::find(&packet, 17).is_some());
    // A wrong code: the peer is told inside, confirms, and is refused.
    let asked = begun(&lab, "vpn", MS_CHAP_2).await;
    let refused = answer(&lab, "vpn", &asked, &ms_chap2(&asked, "000001")).await;
    let (_, data) = refused.request();
    assert_eq!(data[0], 4);
    assert!(data[4..].starts_with(b"E=691 R=0 C="), "{data:?}");
    let decided = lab.decision("alice").await;
    assert_eq!(decided.reason.as_str(), "wrong_code");
    // A success that was never said is not confirmed (CVE-2006-1354).
    let last = answer(&lab, "vpn", &refused, &[3]).await;
    assert_eq!(last.decision, "reject");
    assert_eq!(lab.decision("alice").await.request, decided.request);
    let asked = begun(&lab, "vpn", MS_CHAP_2).await;
    let last = answer(&lab, "vpn", &asked, &[3]).await;
    assert_eq!(last.decision, "reject");
    assert_eq!(lab.last("alice"), Some(0));
}

/// What is changed between the proof and its confirmation.
#[derive(Clone, Copy)]
enum Meanwhile {
    Disabled,
    Removed,
    Suspended,
    Changed,
}

impl Meanwhile {
    async fn happens(self, lab: &Lab) {
        let (admin, alice, by) = (&lab.service().admin, key("alice"), lab.by());
        let set = async |patch: UserPatch| {
            let by = lab.by();
            admin.set_user(&alice, patch, None, by).await.unwrap();
        };
        match self {
            Self::Disabled => {
                let patch = UserPatch {
                    disabled: Some(true),
                    ..UserPatch::default()
                };
                set(patch).await;
            }
            Self::Removed => admin.remove_user(&alice, None, by).await.unwrap(),
            Self::Suspended => {
                let view = lab.service().core.store().view(&alice).unwrap().unwrap();
                let serial = view.tokens[0].0.serial.clone();
                admin.suspend_token(&serial, None, by).await.unwrap();
            }
            Self::Changed => {
                let patch = UserPatch {
                    groups: Some(vec!["leavers".to_owned()]),
                    ..UserPatch::default()
                };
                set(patch).await;
            }
        }
    }
}

/// The code is used up a packet before the accept leaves. Who may not come in any more by then is refused.
#[tokio::test]
async fn an_accept_that_waits_for_the_peer_is_held_to_what_it_rested_on() {
    for (meanwhile, reason) in [
        (Meanwhile::Disabled, "user_disabled"),
        (Meanwhile::Removed, "unknown_user"),
        (Meanwhile::Suspended, "not_active"),
        (Meanwhile::Changed, "stale_challenge"),
    ] {
        let lab = Lab::new(&[("vpn", OTP)]).await;
        lab.user("alice", None, None).await;
        lab.token("alice", Kind::Hotp, Digits::SIX).await;
        let asked = begun(&lab, "vpn", MS_CHAP_2).await;
        let proof = answer(&lab, "vpn", &asked, &ms_chap2(&asked, &code(0))).await;
        assert_eq!(proof.request().1[0], 3, "{reason}");
        said(&lab, "hotp_ok", "eap-mschapv2").await;
        let accept = lab.decision("alice").await.request;
        meanwhile.happens(&lab).await;
        let last = answer(&lab, "vpn", &proof, &[3]).await;
        assert_eq!(last.decision, "reject", "{reason}");
        assert_eq!(last.eap, [4, proof.eap[1], 0, 4], "{reason}");
        said(&lab, reason, "eap-mschapv2").await;
        let note = lab.decision("alice").await.note.expect("a note");
        assert!(note.contains(&accept.to_string()), "{note}");
        // It is over, and not put on record twice.
        let records = async || {
            let query = AuditQuery {
                limit: 100,
                ..AuditQuery::default()
            };
            lab.service().core.store().audit(query).await.unwrap().len()
        };
        let before = records().await;
        let again = answer(&lab, "vpn", &proof, &[3]).await;
        assert_eq!(again.decision, "reject", "{reason}");
        said(&lab, "method_not_allowed", "eap").await;
        assert_eq!(records().await, before + 1, "{reason}");
    }
}

/// Its code is used up: a pause that others bring about by guessing meanwhile does not keep the person out, a lock
/// does.
#[tokio::test]
async fn guesses_of_others_do_not_overtake_an_accept() {
    const LOCKS: &str = "reject_delay = \"0s\"\n[lockout]\nfree = 1\nlock_after = 3\n[[rule]]\n\
                         name = \"all\"\nrequire = [\"otp\"]\n";
    for (locks, word) in [(false, "throttled"), (true, "locked")] {
        let lab = Lab::new(&[("vpn", LOCKS)]).await;
        lab.user("alice", None, None).await;
        lab.token("alice", Kind::Hotp, Digits::SIX).await;
        let asked = begun(&lab, "vpn", MS_CHAP_2).await;
        let proof = answer(&lab, "vpn", &asked, &ms_chap2(&asked, &code(0))).await;
        said(&lab, "hotp_ok", "eap-mschapv2").await;
        lab.fail("vpn", "alice", None, 2).await;
        if locks {
            lab.clock.advance(Duration::from_secs(10));
            lab.fail("vpn", "alice", None, 1).await;
        }
        lab.radius("vpn", "alice", &code(1), None, None).await;
        assert_eq!(lab.reason("alice").await, word);
        let last = answer(&lab, "vpn", &proof, &[3]).await;
        if locks {
            assert_eq!(last.decision, "reject");
            said(&lab, word, "eap-mschapv2").await;
        } else {
            assert_eq!(last.decision, "accept");
        }
        assert_eq!(lab.last("alice"), Some(0), "{word}");
    }
}

/// The rule that decided counts, as in all rounds of a login, though its hours end before the peer confirms.
#[tokio::test]
async fn hours_that_end_do_not_overtake_an_accept() {
    let clock = |after: Duration| START.plus(after).rfc3339()[11..16].to_owned();
    let (from, to) = (clock(Duration::ZERO), clock(Duration::from_mins(1)));
    let text = format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"office\"\nwhen = {{ time = \"mon-sun {from}-{to} UTC\" }}\n\
         require = [\"otp\"]\n[[rule]]\nname = \"rest\"\nrequire = [\"pin\", \"otp\"]\n"
    );
    let lab = Lab::new(&[("vpn", &text)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let asked = begun(&lab, "vpn", MS_CHAP_2).await;
    let proof = answer(&lab, "vpn", &asked, &ms_chap2(&asked, &code(0))).await;
    said(&lab, "hotp_ok", "eap-mschapv2").await;
    lab.clock.advance(Duration::from_secs(90));
    let last = answer(&lab, "vpn", &proof, &[3]).await;
    assert_eq!(last.decision, "accept");
}

/// RFC 3579 s2.6.5: what the peer is told stands in the EAP packet alone.
#[tokio::test]
async fn no_reply_message_stands_beside_an_eap_packet() {
    let policy = format!(
        "{OTP}[reply]\n\"Reply-Message\" = \"welcome {{user}}\"\n\"Filter-Id\" = \"staff\"\n"
    );
    let lab = Lab::new(&[("vpn", &policy)]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Hotp, Digits::SIX).await;
    let carries = |reply: &[u8]| {
        let packet = Packet::parse(reply).unwrap();
        let text = packet.first(Type::ReplyMessage).map(<[u8]>::to_vec);
        (text, packet.first(Type::FilterId).map(<[u8]>::to_vec))
    };
    let filter = Some(b"staff".to_vec());
    let asked = begun(&lab, "vpn", GTC).await;
    let gtc = answer(&lab, "vpn", &asked, code(0).as_bytes()).await;
    let note = lab.decision("alice").await.note.expect("a note");
    let asked = begun(&lab, "vpn", MS_CHAP_2).await;
    let proof = answer(&lab, "vpn", &asked, &ms_chap2(&asked, &code(1))).await;
    let ms_chap = answer(&lab, "vpn", &proof, &[3]).await;
    for last in [gtc, ms_chap] {
        assert_eq!(last.decision, "accept");
        assert_eq!(carries(&last.reply), (None, filter.clone()));
    }
    assert!(note.contains("Reply-Message was left out"), "{note}");
    // Where there is no EAP packet it stays.
    let (reply, heard) = lab
        .send("vpn", |request, keys| {
            request.attribute(Type::UserName, b"alice").unwrap();
            request.user_password(code(2).as_bytes(), keys).unwrap();
        })
        .await;
    assert_eq!(heard.decision, "accept");
    assert_eq!(carries(&reply), (Some(b"welcome alice".to_vec()), filter));
    assert_eq!(lab.decision("alice").await.note, None);
}

/// RFC 3579 s2.6.2: roles are not exchanged. A Nak with no method ends the peer's asking.
#[tokio::test]
async fn a_peer_that_asks_hears_a_nak() {
    let lab = lab().await;
    let identity = [1_u8, 77, 0, 5, 1];
    let long = [&[1, 78, 1, 44, MD5][..], &[0; 295]].concat();
    for asks in [&identity[..], &long] {
        let last = send(&lab, "vpn", None, asks).await;
        assert_eq!(last.decision, "reject");
        assert_eq!(last.eap, [2, asks[1], 0, 6, 3, 0]);
        said(&lab, "method_not_allowed", "eap").await;
    }
    assert_eq!(lab.decision("alice").await.failures, 0);
}

#[tokio::test]
async fn a_client_offers_what_it_is_allowed() {
    let lab = lab().await;
    let allow = async |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let patch = ClientPatch {
            methods: Some(Allowed::parse(&words).unwrap()),
            ..ClientPatch::default()
        };
        let admin = &lab.service().admin;
        admin
            .set_client("nas-vpn", patch, None, lab.by())
            .await
            .unwrap();
    };
    allow(&["pap", "eap-gtc"]).await;
    let first = send(&lab, "vpn", None, &response(7, 1, b"alice")).await;
    assert_eq!(first.request().0, GTC);
    for wanted in [&[MD5][..], &[13, 21, 25], &[0], &[]] {
        let first = send(&lab, "vpn", None, &response(7, 1, b"alice")).await;
        let nak = response(first.eap[1], 3, wanted);
        let last = send(&lab, "vpn", first.state.as_deref(), &nak).await;
        assert_eq!(last.decision, "reject", "{wanted:?}");
        said(&lab, "method_not_allowed", "eap").await;
    }
    allow(&["pap"]).await;
    let first = send(&lab, "vpn", None, &response(7, 1, b"alice")).await;
    assert_eq!(first.decision, "reject");
    assert_eq!(lab.decision("alice").await.failures, 0);
}

/// The wire says that it is over; why is in the audit, with advice for those who cannot speak PAP.
#[tokio::test]
async fn a_conversation_without_a_login_says_why() {
    let lab = lab().await;
    let note = async || {
        said(&lab, "method_not_allowed", "eap").await;
        lab.decision("alice").await.note.expect("a note")
    };
    let first = send(&lab, "vpn", None, &response(7, 1, b"alice")).await;
    let nak = response(first.eap[1], 3, &[13]);
    send(&lab, "vpn", first.state.as_deref(), &nak).await;
    let wants = note().await;
    assert!(wants.contains("wants EAP-TLS"), "{wants}");
    assert!(
        wants.contains("is offered EAP-MD5, EAP-MSCHAPv2, EAP-GTC"),
        "{wants}"
    );
    let asked = begun(&lab, "vpn", GTC).await;
    let other = response(asked.eap[1], MD5, b"755224");
    send(&lab, "vpn", asked.state.as_deref(), &other).await;
    let order = note().await;
    assert!(
        order.contains("answers nothing that it was asked"),
        "{order}"
    );
    // That conversation is over.
    let late = response(asked.eap[1], GTC, b"755224");
    send(&lab, "vpn", asked.state.as_deref(), &late).await;
    let unknown = note().await;
    assert!(unknown.contains("nothing is known of"), "{unknown}");
    let patch = ClientPatch {
        methods: Some(Allowed::parse(&["pap".to_owned()]).unwrap()),
        ..ClientPatch::default()
    };
    let set = lab
        .service()
        .admin
        .set_client("nas-vpn", patch, None, lab.by());
    set.await.unwrap();
    send(&lab, "vpn", None, &response(7, 1, b"alice")).await;
    let nothing = note().await;
    assert!(nothing.contains("no method can be offered"), "{nothing}");
    let request = lab.decision("alice").await.request;
    let explained = lab.service().explain.explain(request).await.unwrap();
    let page = &explained.records[0];
    assert!(
        page.summary.contains("the note says why"),
        "{}",
        page.summary
    );
    let steps: String = page.next.iter().map(|step| step.text.as_str()).collect();
    assert!(steps.contains("EAP-TTLS with PAP"), "{steps}");
    assert!(!steps.contains("Set the NAS to PAP"), "{steps}");
}

/// Hostile and broken packets end a conversation or are not noticed; none of them is counted.
#[tokio::test]
async fn what_is_no_answer_ends_it() {
    let lab = lab().await;
    // EAP-Start (RFC 3579 s2.1).
    let start = send(&lab, "vpn", None, b"").await;
    assert_eq!(start.request(), (1, &b""[..]));
    let first = answer(&lab, "vpn", &start, b"alice").await;
    assert_eq!(first.decision, "challenge");
    // A NAS that asks again from another port hears the same request.
    let again = answer(&lab, "vpn", &start, b"alice").await;
    assert_eq!(again.eap, first.eap);
    let asked = begun(&lab, "vpn", GTC).await;
    let request = [&[1, asked.eap[1], 0, 6, GTC], &b"1"[..]].concat();
    for bad in [
        &request[..],
        &response(asked.eap[1], MD5, b"755224"),
        &response(asked.eap[1].wrapping_add(9), GTC, b"755224"),
        &[2],
        &[2, 7, 0, 5],
        &[2, 7, 255, 255, 6, 1],
        &[3, 7, 0, 4],
        &[9; 900],
    ] {
        let asked = begun(&lab, "vpn", GTC).await;
        let last = send(&lab, "vpn", asked.state.as_deref(), bad).await;
        assert_eq!(last.decision, "reject", "{bad:02x?}");
        let code = code(0);
        let late = answer(&lab, "vpn", &asked, code.as_bytes()).await;
        assert_eq!(late.decision, "reject", "{bad:02x?}");
    }
    // A second change of mind.
    let asked = begun(&lab, "vpn", GTC).await;
    let nak = response(asked.eap[1], 3, &[MD5]);
    let last = send(&lab, "vpn", asked.state.as_deref(), &nak).await;
    assert_eq!(last.decision, "reject");
    // A State of another client.
    let asked = begun(&lab, "vpn", GTC).await;
    let octets = response(asked.eap[1], GTC, code(0).as_bytes());
    let last = send(&lab, "two", asked.state.as_deref(), &octets).await;
    assert_eq!(last.decision, "reject");
    assert_eq!(lab.decision("alice").await.failures, 0);
    assert_eq!(lab.last("alice"), None);
    // There it goes on.
    let last = answer(&lab, "vpn", &asked, code(0).as_bytes()).await;
    assert_eq!(last.decision, "accept");
}

/// The peer of `wpa_supplicant`. What it prints is shown where it fails.
fn eapol_test(daemon: &Daemon, site: &Site, network: &str, keys: bool) -> bool {
    let file = site.path().join("eapol.conf");
    let ca = site.path().join("ca.pem");
    let text = format!(
        "network={{\n  identity=\"alice\"\n  ca_cert=\"{}\"\n{network}}}\n",
        ca.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("eapol_test");
    command.arg("-c").arg(&file);
    let port = daemon.radius.port().to_string();
    command.args([
        "-a",
        "127.0.0.1",
        "-p",
        &port,
        "-s",
        "testing123",
        "-t",
        "10",
    ]);
    if !keys {
        command.arg("-n");
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let success = text.trim_end().ends_with("SUCCESS");
    if !success {
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().rev().take(60).rev();
        eprintln!("{network}{}", last.copied().collect::<Vec<_>>().join("\n"));
    }
    success
}

/// A certificate that the peer trusts, in the directory of the site.
pub(crate) fn certificate(site: &Site) -> [(&'static str, String); 2] {
    let made = rcgen::generate_simple_self_signed(vec!["radius.example".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = site.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    write("ca.pem", made.cert.pem());
    [
        (
            "ONCEGATE__RADIUS__EAP__CERTIFICATE",
            write("eap.pem", made.cert.pem()),
        ),
        (
            "ONCEGATE__RADIUS__EAP__KEY",
            write("eap.key", made.signing_key.serialize_pem()),
        ),
    ]
}

/// The peer of FreeRADIUS, which speaks MD5 and cannot ask for it.
#[test]
fn radeapclient_logs_in_by_md5() {
    if !require("radeapclient", "freeradius-utils") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let daemon = site.serve();
    let ask = |code: &str| {
        let file = site.path().join("eap.txt");
        let text = format!(
            "User-Name = \"alice\"\nCleartext-Password = \"{code}\"\nEAP-Code = Response\n\
             EAP-Id = 210\nEAP-Type-Identity = \"alice\"\nMessage-Authenticator = 0x00\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("radeapclient");
        command.args(["-x", &daemon.radius.to_string(), "auth", "testing123"]);
        command.stdin(std::fs::File::open(file).unwrap());
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = ask(&hotp(0));
    assert!(first.contains("Received Access-Accept"), "{first}");
    let again = ask(&hotp(0));
    assert!(again.contains("Received Access-Reject"), "{again}");
}

/// What the peer is told, and whether the NAS is given keys that are the peer's.
fn networks() -> Vec<(&'static str, bool)> {
    let anonymous = "  key_mgmt=WPA-EAP\n  anonymous_identity=\"anonymous\"\n";
    let plain = "  key_mgmt=IEEE8021X\n";
    let all = [
        (plain, "  eap=MD5\n", false),
        (plain, "  eap=GTC\n", false),
        (plain, "  eap=MSCHAPV2\n", false),
        (anonymous, "  eap=TTLS\n  phase2=\"auth=PAP\"\n", true),
        (anonymous, "  eap=TTLS\n  phase2=\"auth=CHAP\"\n", true),
        (anonymous, "  eap=TTLS\n  phase2=\"auth=MSCHAP\"\n", true),
        (anonymous, "  eap=TTLS\n  phase2=\"auth=MSCHAPV2\"\n", true),
        (anonymous, "  eap=TTLS\n  phase2=\"autheap=GTC\"\n", true),
        (
            anonymous,
            "  eap=TTLS\n  phase2=\"autheap=MSCHAPV2\"\n",
            true,
        ),
        (
            anonymous,
            "  eap=PEAP\n  phase1=\"peapver=0\"\n  phase2=\"auth=GTC\"\n",
            true,
        ),
        (
            anonymous,
            "  eap=PEAP\n  phase1=\"peapver=0\"\n  phase2=\"auth=MSCHAPV2\"\n",
            true,
        ),
        (
            anonymous,
            "  eap=TTLS\n  phase1=\"tls_disable_tlsv1_3=0\"\n  phase2=\"auth=PAP\"\n",
            true,
        ),
        (
            anonymous,
            "  eap=TTLS\n  phase1=\"tls_disable_tlsv1_3=0\"\n  phase2=\"auth=MSCHAP\"\n",
            true,
        ),
        (
            anonymous,
            "  eap=PEAP\n  phase1=\"peapver=0 tls_disable_tlsv1_3=0\"\n  phase2=\"auth=GTC\"\n",
            true,
        ),
        // Small fragments in both directions.
        (
            anonymous,
            "  eap=TTLS\n  fragment_size=100\n  phase2=\"auth=PAP\"\n",
            true,
        ),
    ];
    all.into_iter()
        .map(|(first, rest, keys)| (&*Box::leak(format!("{first}{rest}").into_boxed_str()), keys))
        .collect()
}

#[test]
fn eapol_test_logs_in_by_every_method() {
    if !require("eapol_test", "eapoltest") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let env = certificate(&site);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, &**value)).collect();
    let daemon = site.serve_with(&env);
    let mut failed = Vec::new();
    let mut counter = 0;
    for (network, keys) in networks() {
        let network = |code: &str| format!("{network}  password=\"{code}\"\n");
        let code = hotp(counter);
        if !eapol_test(&daemon, &site, &network(&code), keys) {
            failed.push(network(&code));
        }
        counter += 1;
    }
    assert!(failed.is_empty(), "{failed:#?}\n{}", site.log());
    // A code is good once, through a tunnel as well; a certificate of another authority ends it before.
    let pap = "  key_mgmt=WPA-EAP\n  eap=TTLS\n  phase2=\"auth=PAP\"\n";
    let used = format!("{pap}  password=\"{}\"\n", hotp(counter - 1));
    assert!(!eapol_test(&daemon, &site, &used, true));
    certificate_of_another(&site);
    let fresh = format!("{pap}  password=\"{}\"\n", hotp(counter));
    assert!(!eapol_test(&daemon, &site, &fresh, true));
}

/// Refusals that a peer meets inside a tunnel; none of them uses the code up.
#[test]
fn eapol_test_is_refused_inside_a_tunnel() {
    if !require("eapol_test", "eapoltest") {
        return;
    }
    let site = Site::new();
    site.enrol("alice", "hotp", RFC_SECRET);
    site.radius_client("nas", "testing123");
    let env = certificate(&site);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, &**value)).collect();
    let daemon = site.serve_with(&env);
    let try_it = |outer: &str, method: &str, code: &str| {
        let network = format!(
            "  key_mgmt=WPA-EAP\n  anonymous_identity=\"{outer}\"\n{method}  password=\"{code}\"\n"
        );
        eapol_test(&daemon, &site, &network, true)
    };
    let (pap, ms_chap) = (
        "  eap=TTLS\n  phase2=\"auth=PAP\"\n",
        "  eap=PEAP\n  phase1=\"peapver=0\"\n  phase2=\"auth=MSCHAPV2\"\n",
    );
    // The name outside is another user's.
    assert!(!try_it("bob", pap, &hotp(0)));
    let why = site.json(&["audit", "list", "--user", "bob", "--limit", "1"]);
    let why = why["records"][0]["note"].as_str().unwrap_or_default();
    assert!(why.contains("the name inside the tunnel"), "{why}");
    assert!(!try_it("anonymous", ms_chap, "000001"));
    assert!(!try_it("anonymous", pap, "000001"));
    // Tunnels that the client is not allowed are not offered.
    site.json(&["client", "set", "nas", "--method", "eap-peap"]);
    assert!(!try_it("anonymous", pap, &hotp(0)));
    site.json(&["client", "set", "nas", "--method", "all"]);
    for outer in ["@example.org", "alice", "anonymous@example.org"] {
        let counter = ["@example.org", "alice", "anonymous@example.org"]
            .iter()
            .position(|one| *one == outer);
        let code = hotp(counter.and_then(|at| u64::try_from(at).ok()).unwrap());
        assert!(try_it(outer, pap, &code), "{outer}: {}", site.log());
    }
    let list = site.json(&["audit", "list", "--user", "alice"]);
    let methods = list.to_string();
    assert!(methods.contains("eap-peap-mschapv2") && methods.contains("eap-ttls-pap"));
}

fn certificate_of_another(site: &Site) {
    let made = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    std::fs::write(site.path().join("ca.pem"), made.cert.pem()).unwrap();
}
