//! Logins that are under way while an administrator puts another user or token in the place of the one they are about.

use std::sync::Arc;
use std::time::Duration;

use oncegate::admin::{CredentialsPatch, NewToken, NewVerifier, UserPatch};
use oncegate::core::CoreError;
use oncegate::login::{LoginAnswer, LoginRequest, Presented};
use oncegate::model::audit::Channel;
use oncegate::model::client::Require;
use oncegate::model::kind::Kind;
use oncegate::model::user_key::UserKey;
use oncegate::otp::{Algorithm, Digits, Period, hotp};
use oncegate::secret::{OtpKey, SecretBytes, SecretString};
use oncegate::store::StoreError;
use oncegate::time::UnixTime;

use crate::support::lane::{login, poll};
use crate::support::service::TestService;

const POLICY: &str =
    "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"pin\", \"otp\"]\n";
const SERIAL: &str = "HOTP-SUE";

fn key(octet: u8) -> SecretBytes {
    SecretBytes::new(vec![octet; 20])
}

fn code(octet: u8) -> String {
    let key = OtpKey::new(key(octet)).unwrap();
    let code = hotp::generate(&key, Algorithm::Sha1, Digits::SIX, 0);
    code.expose().expose().to_owned()
}

async fn add_user(test: &TestService, pin: &str) {
    let patch = UserPatch {
        credentials: CredentialsPatch {
            pin: Some(NewVerifier::Text(SecretString::from(pin))),
            ..CredentialsPatch::default()
        },
        ..UserPatch::default()
    };
    let user = UserKey::parse("sue").unwrap();
    let added = test.service.admin.add_user(user, patch, test.by()).await;
    added.unwrap();
}

async fn add_token(test: &TestService, octet: u8) {
    let new = NewToken {
        user: UserKey::parse("sue").unwrap(),
        kind: Kind::Hotp,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: Some(key(octet)),
        counter: 0,
        active: true,
        serial: Some(SERIAL.parse().unwrap()),
    };
    let added = test.service.admin.add_token(new, test.by()).await;
    added.unwrap();
}

/// The PIN and the code of the records that were there are worth nothing for those that have their names now, although
/// both were looked at before the change.
#[tokio::test]
async fn another_record_of_the_same_name_is_not_taken_for_the_one_that_was_compared() {
    for whole in [true, false] {
        let test = TestService::new(&[("policies/default.toml", POLICY)]);
        test.client("vpn", "192.0.2.1/32", "a secret of it", Require::True, None)
            .await;
        let client = test.service.admin.client("vpn").unwrap();
        add_user(&test, "884213").await;
        add_token(&test, 1).await;
        let service = Arc::clone(&test.service);
        let typed = SecretString::new(format!("884213{}", code(1)));
        let mut asked = login(async {
            let (id, at) = service.core.arrival().unwrap();
            let request = LoginRequest {
                id,
                at,
                deadline: at.plus(Duration::from_secs(30)),
                client: &client,
                channel: Channel::Radius,
                method: "pap",
                user: "sue",
                presented: Presented::Passcode(&typed),
                serial: None,
                challenge: None,
                rounds: true,
                source: None,
                attributes: &[],
                context: &[],
                origin: None,
                carrier: None,
            };
            service.login.authenticate(&request).await.unwrap()
        });
        // The PIN is being hashed.
        assert!(poll(&mut asked).is_pending());
        let admin = &test.service.admin;
        if whole {
            let user = UserKey::parse("sue").unwrap();
            admin.remove_user(&user, None, test.by()).await.unwrap();
            add_user(&test, "775104").await;
        } else {
            let serial = SERIAL.parse().unwrap();
            admin.remove_token(&serial, None, test.by()).await.unwrap();
        }
        add_token(&test, 2).await;
        let ended = asked.await;
        assert!(
            matches!(ended.answer, LoginAnswer::Reject),
            "{:?}",
            ended.reason
        );
    }
}

/// The sighting: where PINs were compared for too long, the log named the store, and sent who read it to the disk.
#[tokio::test]
async fn a_login_that_is_late_says_what_it_waited_for() {
    let codes = POLICY.replace("\"pin\", \"otp\"", "\"otp\"");
    let policies = [
        ("policies/default.toml", POLICY),
        ("policies/codes.toml", codes.as_str()),
    ];
    let test = TestService::new(&policies);
    for (name, address, policy) in [
        ("vpn", "192.0.2.1/32", None),
        ("codes", "192.0.2.2/32", Some("codes")),
    ] {
        test.client(name, address, "a secret of it", Require::True, policy)
            .await;
        let client = test.service.admin.client(name).unwrap();
        let (id, at) = test.service.core.arrival().unwrap();
        let typed = SecretString::from("884213000000");
        let request = LoginRequest {
            id,
            at,
            deadline: UnixTime::from_millis(at.as_millis() - 1),
            client: &client,
            channel: Channel::Radius,
            method: "pap",
            user: "sue",
            presented: Presented::Passcode(&typed),
            serial: None,
            challenge: None,
            rounds: true,
            source: None,
            attributes: &[],
            context: &[],
            origin: None,
            carrier: None,
        };
        let error = test.service.login.authenticate(&request).await.unwrap_err();
        let text = error.to_string();
        if policy.is_none() {
            assert!(matches!(error, CoreError::Late), "{text}");
            assert!(text.contains("`limits.password_threads`"), "{text}");
        } else {
            assert!(
                matches!(error, CoreError::Store(StoreError::Late)),
                "{text}"
            );
            assert!(!text.contains("overloaded"), "{text}");
        }
    }
    assert_eq!(test.decisions().await, 0, "nothing was counted");
}
