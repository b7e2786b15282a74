//! Delivery against a gateway double: fail-over, breakers, bulkheads, templates, answers.

use std::sync::Arc;
use std::time::Duration;

use oncegate::core::courier::{BreakerState, Courier as _, DeliveryError, Undeliverable};
use oncegate::model::message::{AddressError, Medium, Message};
use tokio::time::timeout;

use crate::support::gateway::{Behaviour, DeliveryLab, GatewayDouble, sms};

fn fails() -> Behaviour {
    Behaviour::Say(500, "out of order".to_owned())
}

#[tokio::test]
async fn a_message_is_taken() {
    let double = GatewayDouble::start();
    let lab = DeliveryLab::new(&double.table("a", ""));
    let delivered = lab.deliveries.deliver(sms(7, "hello")).await.unwrap();
    assert_eq!(delivered.gateway, "a");
    assert_eq!(delivered.reference.as_deref(), Some("m-1"));
    let received = &double.received()[0];
    assert_eq!(
        (received.method.as_str(), received.path.as_str()),
        ("POST", "/send")
    );
    assert_eq!(received.id, "07".repeat(16));
    assert_eq!(received.json()["to"], "+821012345678");
    assert_eq!(received.header("content-type"), Some("application/json"));
    let status = &lab.deliveries.gateways()[0];
    assert_eq!((status.sent, status.failed, status.in_flight), (1, 0, 0));
    assert_eq!(status.last_error, None);
}

#[tokio::test]
async fn the_next_gateway_takes_what_the_first_does_not() {
    let (a, b, mail) = (
        GatewayDouble::start(),
        GatewayDouble::start(),
        GatewayDouble::start(),
    );
    a.behave(fails());
    let of_mail = mail.table("mail", "").replace("\"sms\"", "\"email\"");
    let text = format!(
        "{of_mail}{}{}",
        b.table("b", "priority = 200"),
        a.table("a", "")
    );
    let lab = DeliveryLab::new(&text);
    let delivered = lab.deliveries.deliver(sms(1, "hello")).await.unwrap();
    assert_eq!(delivered.gateway, "b");
    assert_eq!((a.received().len(), b.received().len()), (2, 1));
    assert_eq!(mail.connections(), 0);
    let status = lab.deliveries.gateways();
    let status = status.iter().find(|status| status.name == "a").unwrap();
    assert_eq!((status.sent, status.failed), (0, 2));
    assert_eq!(status.last_error.as_deref(), Some("HTTP 500"));

    b.behave(fails());
    let error = lab.deliveries.deliver(sms(2, "hello")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no gateway took the message: a: HTTP 500; b: HTTP 500"
    );
}

#[tokio::test]
async fn a_message_keeps_its_id_over_attempts_and_gateways() {
    let (a, b) = (GatewayDouble::start(), GatewayDouble::start());
    // It takes the message and is too slow to say so.
    a.behave(Behaviour::Hold);
    let lines = "timeout = \"100ms\"\nattempts = 3";
    let lab = DeliveryLab::new(&format!("{}{}", a.table("a", lines), b.table("b", "")));
    let delivered = lab.deliveries.deliver(sms(9, "hello")).await.unwrap();
    assert_eq!(delivered.gateway, "b");
    let (at_a, at_b) = (a.received(), b.received());
    assert_eq!((at_a.len(), at_b.len()), (3, 1));
    assert!(
        at_a.iter()
            .chain(&at_b)
            .all(|one| one.id == "09".repeat(16))
    );
    let copies: Vec<bool> = at_a.iter().map(|one| one.duplicate).collect();
    assert_eq!(copies, [false, true, true]);
    let bodies = at_a.iter().chain(&at_b).map(|one| &one.body);
    assert_eq!(bodies.collect::<std::collections::HashSet<_>>().len(), 1);
    let error = lab.deliveries.gateways()[0].last_error.clone();
    assert_eq!(error.as_deref(), Some("no answer within 100ms"));
}

#[tokio::test]
async fn a_gateway_that_fails_is_left_alone_for_its_pause() {
    let (a, b) = (GatewayDouble::start(), GatewayDouble::start());
    a.behave(fails());
    let lines = "attempts = 1\nbreaker_failures = 2\nbreaker_pause = \"30s\"";
    let lab = DeliveryLab::new(&format!("{}{}", a.table("a", lines), b.table("b", "")));
    let send = async |id| lab.deliveries.deliver(sms(id, "x")).await.unwrap().gateway;
    let state = || lab.deliveries.gateways()[0].breaker;
    assert_eq!(send(1).await, "b");
    assert_eq!(state(), BreakerState::Closed);
    assert_eq!(send(2).await, "b");
    assert_eq!(state(), BreakerState::Open);
    a.behave(Behaviour::Take);
    assert_eq!(send(3).await, "b");
    lab.clock.advance(Duration::from_millis(29_999));
    assert_eq!(send(4).await, "b");
    assert_eq!(a.connections(), 2, "it was asked although it rests");
    lab.clock.advance(Duration::from_millis(1));
    assert_eq!(state(), BreakerState::HalfOpen);
    a.behave_next(&[fails()]);
    assert_eq!(send(5).await, "b");
    assert_eq!((state(), a.connections()), (BreakerState::Open, 3));
    lab.clock.advance(Duration::from_secs(30));
    assert_eq!(send(6).await, "a");
    assert_eq!(state(), BreakerState::Closed);
    assert_eq!(send(7).await, "a");
}

#[tokio::test]
async fn a_probe_that_nobody_waits_for_is_repeated() {
    let a = GatewayDouble::start();
    a.behave_next(&[fails(), Behaviour::Hold]);
    let lines = "attempts = 1\nbreaker_failures = 1";
    let lab = DeliveryLab::new(&a.table("a", lines));
    lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
    lab.clock.advance(Duration::from_secs(30));
    let deliveries = Arc::clone(&lab.deliveries);
    let probe = tokio::spawn(async move { deliveries.deliver(sms(2, "x")).await });
    a.wait_for(2).await;
    let error = lab.deliveries.deliver(sms(3, "x")).await.unwrap_err();
    let wanted = "no gateway took the message: a: not asked after too many failures (HTTP 500)";
    assert_eq!(error.to_string(), wanted);
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    assert_eq!(
        lab.deliveries.deliver(sms(4, "x")).await.unwrap().gateway,
        "a"
    );
}

#[tokio::test]
async fn what_one_recipient_is_refused_does_not_close_the_gateway() {
    let a = GatewayDouble::start();
    a.behave(Behaviour::Say(400, "no such number".to_owned()));
    let lab = DeliveryLab::new(&a.table("a", "breaker_failures = 1"));
    for id in 0..3 {
        lab.deliveries.deliver(sms(id, "x")).await.unwrap_err();
    }
    assert_eq!(lab.deliveries.gateways()[0].breaker, BreakerState::Closed);
    assert_eq!(a.received().len(), 3, "a refusal is not repeated");
}

#[tokio::test]
async fn a_slow_gateway_does_not_hold_the_others() {
    let (slow, spare, voice) = (
        GatewayDouble::start(),
        GatewayDouble::start(),
        GatewayDouble::start(),
    );
    slow.behave(Behaviour::Hold);
    let lines = "timeout = \"60s\"\nin_flight = 1\nqueue = 1";
    let of_voice = voice.table("voice", "").replace("\"sms\"", "\"voice\"");
    let text = format!(
        "[limits]\ndelivery_budget = \"120s\"\n{}{}{of_voice}",
        slow.table("slow", lines),
        spare.table("spare", "")
    );
    let lab = DeliveryLab::new(&text);
    let send = |message: Message| {
        let deliveries = Arc::clone(&lab.deliveries);
        tokio::spawn(async move { deliveries.deliver(message).await.unwrap().gateway })
    };
    let soon = async |task: tokio::task::JoinHandle<String>| {
        timeout(Duration::from_secs(20), task)
            .await
            .unwrap()
            .unwrap()
    };
    let working = send(sms(1, "x"));
    slow.wait_for(1).await;
    let waiting = send(sms(2, "x"));
    // One is handed over, one waits; no place is left for more, which take another way at once.
    for id in 3..10 {
        if soon(send(sms(id, "x"))).await == "spare" {
            break;
        }
    }
    for id in 10..20 {
        assert_eq!(soon(send(sms(id, "x"))).await, "spare");
    }
    let mut call = sms(20, "x");
    call.medium = Medium::Voice;
    assert_eq!(soon(send(call)).await, "voice");
    let status = lab.deliveries.gateways();
    assert_eq!(status[0].in_flight, 1);
    assert!(!working.is_finished() && !waiting.is_finished());
    slow.release();
    assert_eq!(
        (soon(working).await, soon(waiting).await),
        ("slow".into(), "slow".into())
    );
    assert_eq!(lab.deliveries.gateways()[0].in_flight, 0);
}

#[tokio::test]
async fn the_time_for_a_message_ends() {
    let (a, b) = (GatewayDouble::start(), GatewayDouble::start());
    a.behave(Behaviour::Say(503, String::new()));
    b.behave(Behaviour::Hold);
    let text = format!(
        "[limits]\ndelivery_budget = \"1s\"\n{}{}",
        a.table("a", ""),
        b.table("b", "timeout = \"60s\"")
    );
    let lab = DeliveryLab::new(&text);
    let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
    let DeliveryError::Late(failures) = &error else {
        panic!("{error}");
    };
    assert_eq!(failures.len(), 1);
    assert_eq!(
        error.to_string(),
        "the time for delivering is over: a: HTTP 503"
    );
    assert_eq!(lab.deliveries.gateways()[1].in_flight, 0);
}

/// Quotes, line ends, separators, Korean, and what looks like a placeholder.
const NASTY: &str = "\u{c778}\u{c99d} \"755224\"\r\n\\ & = + % #\t{to} {secret} {\"x\":1} </s>";

#[tokio::test]
async fn a_text_stays_a_text_in_json_forms_and_urls() {
    let double = GatewayDouble::start();
    let lab = DeliveryLab::new(&double.table("a", ""));
    lab.deliveries.deliver(sms(1, NASTY)).await.unwrap();
    let json = double.received()[0].json();
    assert_eq!(json["text"], NASTY);
    assert_eq!(json.as_object().unwrap().len(), 2);

    let form = double.table("a", "format = \"form\"").replace(
        "'{\"to\":\"{to}\",\"text\":\"{text}\"}'",
        "\"to={to}&text={text}&lang={language}&code={code}&subject={subject}\"",
    );
    let lab = DeliveryLab::new(&form);
    lab.deliveries.deliver(sms(2, NASTY)).await.unwrap();
    let received = &double.received()[1];
    let media = "application/x-www-form-urlencoded";
    assert_eq!(received.header("content-type"), Some(media));
    let wanted = [
        ("to".to_owned(), "+821012345678".to_owned()),
        ("text".to_owned(), NASTY.to_owned()),
        ("lang".to_owned(), "ko".to_owned()),
        ("code".to_owned(), "755224".to_owned()),
        ("subject".to_owned(), String::new()),
    ];
    assert_eq!(pairs(&received.body), wanted);

    let url = double
        .table("a", "method = \"GET\"")
        .replace("body =", "#")
        .replace("/send", "/send/{id}?to={to}&text={text}");
    let lab = DeliveryLab::new(&url);
    lab.deliveries.deliver(sms(3, NASTY)).await.unwrap();
    let received = &double.received()[2];
    let (path, query) = received.path.split_once('?').unwrap();
    assert_eq!(
        (path, received.body.as_str()),
        (format!("/send/{}", "03".repeat(16)).as_str(), "")
    );
    assert_eq!(pairs(query), wanted[..2]);
}

fn pairs(form: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut octets = Vec::new();
        let mut rest = text.bytes();
        while let Some(octet) = rest.next() {
            if octet == b'%' {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap().to_owned();
                octets.push(u8::from_str_radix(&digits, 16).unwrap());
            } else {
                octets.push(octet);
            }
        }
        String::from_utf8(octets).unwrap()
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (decode(name), decode(value))
    };
    form.split('&').map(pair).collect()
}

#[tokio::test]
async fn headers_are_one_line_and_carry_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "s3cr3t-of-the-gateway\n").unwrap();
    let double = GatewayDouble::start();
    let more = format!("secret_file = \"{}\"", file.display());
    let headers = "[\"Authorization: Bearer {secret}\", \"X-Id: {id}\", \"X-Code: {code}\"]";
    let table = double
        .table("a", &more)
        .replace("[\"X-Id: {id}\"]", headers);
    let lab = DeliveryLab::new(&table);
    lab.deliveries.deliver(sms(1, "x")).await.unwrap();
    let received = &double.received()[0];
    assert_eq!(
        received.header("authorization"),
        Some("Bearer s3cr3t-of-the-gateway")
    );
    assert_eq!(received.header("x-code"), Some("755224"));

    let mut message = sms(2, "x");
    message.code = Some("1\r\nX-Evil: 1".into());
    let error = lab.deliveries.deliver(message).await.unwrap_err();
    assert!(
        error.to_string().contains("header `x-code` would have"),
        "{error}"
    );
    assert_eq!(double.connections(), 1);

    // A gateway that repeats the request does not get the key, the code or the text told on.
    let echo = "bad Bearer s3cr3t-of-the-gateway for +821012345678: say 755224 now\u{7}\n";
    double.behave(Behaviour::Say(401, echo.to_owned()));
    let trial = lab
        .deliveries
        .try_gateway("a", sms(3, "say 755224 now"))
        .await;
    let trial = trial.unwrap();
    assert_eq!(trial.outcome.unwrap_err(), "HTTP 401");
    let wanted = "HTTP 401 bad Bearer [redacted] for +82******5678: [redacted]";
    assert_eq!(trial.answer.as_deref(), Some(wanted));
    let told = format!("{:?}", lab.deliveries.gateways());
    assert!(
        !told.contains("s3cr3t") && !told.contains("755224"),
        "{told}"
    );
}

#[tokio::test]
async fn the_answer_decides_whether_a_message_was_taken() {
    let double = GatewayDouble::start();
    let lines = "attempts = 1\nbreaker_failures = 100\nsuccess_status = [200, 202]";
    let lab = DeliveryLab::new(&double.table("a", lines));
    let refused = async |behaviour| {
        double.behave(behaviour);
        let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
        let error = error.to_string();
        error
            .strip_prefix("no gateway took the message: a: ")
            .unwrap()
            .to_owned()
    };
    let say = |status, body: &str| Behaviour::Say(status, body.to_owned());
    for (behaviour, wanted) in [
        (say(201, "{\"result\":\"ok\"}"), "HTTP 201"),
        (
            say(200, "{\"result\":\"no credit\"}"),
            "/result is \"no credit\", not \"ok\"",
        ),
        (say(200, "{\"result\":true}"), "/result is true, not \"ok\""),
        (
            say(200, "{\"results\":\"ok\"}"),
            "the answer has no /result",
        ),
        (say(200, "[\"ok\"]"), "the answer has no /result"),
        (say(200, "ok"), "HTTP 200, but the answer is not JSON"),
        (say(200, ""), "HTTP 200, but the answer is not JSON"),
        (say(429, ""), "HTTP 429"),
        (
            Behaviour::Endless,
            "HTTP 200, but the answer is longer than 64 KiB",
        ),
    ] {
        assert_eq!(refused(behaviour).await, wanted);
    }
    // What the buffers of the system hold was sent, and not read.
    assert!(double.endless() < 32 << 20, "{}", double.endless());
    let garbage = refused(Behaviour::Garbage).await;
    assert!(garbage.starts_with("no HTTP answer: "), "{garbage}");
    double.behave(say(202, "{\"result\":\"ok\",\"message_id\":17}"));
    let delivered = lab.deliveries.deliver(sms(2, "x")).await.unwrap();
    assert_eq!(delivered.reference.as_deref(), Some("17"));
}

#[tokio::test]
async fn an_answer_that_is_not_asked_for_is_not_needed() {
    let double = GatewayDouble::start();
    let table = double.table("a", "").replace("success_match", "#");
    let lab = DeliveryLab::new(&table.replace("reference", "#"));
    double.behave(Behaviour::Endless);
    let delivered = lab.deliveries.deliver(sms(1, "x")).await.unwrap();
    assert_eq!(delivered.reference, None);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (double, trap) = (GatewayDouble::start(), GatewayDouble::start());
    double.behave(Behaviour::Redirect(format!("http://{}/", trap.address())));
    let lab = DeliveryLab::new(&double.table("a", ""));
    let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("HTTP 302: redirects are not followed"),
        "{error}"
    );
    assert_eq!((double.connections(), trap.connections()), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_sent_is_known_before() {
    let double = GatewayDouble::start();
    let lab = DeliveryLab::new(&double.table("a", ""));
    let check = |medium, to: &str| lab.deliveries.check(medium, to);
    assert_eq!(check(Medium::Sms, "010-1234-5678"), Ok(()));
    let none = Undeliverable::NoGateway(Medium::Email);
    assert_eq!(check(Medium::Email, "a@example.com"), Err(none));
    let fault = AddressError::Signs;
    let malformed = Undeliverable::Address {
        medium: Medium::Sms,
        fault,
    };
    assert_eq!(check(Medium::Sms, "a@example.com"), Err(malformed));
    assert_eq!(
        check(Medium::Sms, "+1 900 555 0100"),
        Err(Undeliverable::Country)
    );
    assert!(
        Undeliverable::Country
            .remedy()
            .contains("`limits.delivery_countries`")
    );
    let mut abroad = sms(1, "x");
    "+19005550100".clone_into(&mut abroad.to);
    let error = lab.deliveries.deliver(abroad).await.unwrap_err();
    assert_eq!(error, DeliveryError::Undeliverable(Undeliverable::Country));
    assert_eq!(double.connections(), 0);
    let error = lab
        .deliveries
        .try_gateway("b", sms(1, "x"))
        .await
        .unwrap_err();
    assert_eq!(error, DeliveryError::UnknownGateway("b".to_owned()));
}

#[tokio::test]
async fn a_trial_asks_a_gateway_that_rests() {
    let double = GatewayDouble::start();
    double.behave_next(&[fails()]);
    let lab = DeliveryLab::new(&double.table("a", "attempts = 1\nbreaker_failures = 1"));
    lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
    assert_eq!(lab.deliveries.gateways()[0].breaker, BreakerState::Open);
    let trial = lab.deliveries.try_gateway("a", sms(2, "x")).await.unwrap();
    assert_eq!(trial.outcome.unwrap().reference.as_deref(), Some("m-2"));
    assert_eq!(lab.deliveries.gateways()[0].breaker, BreakerState::Closed);
}
