//! Decisions of the service over time, with a clock that is moved by hand.

use std::sync::Arc;
use std::time::Duration;

use oncegate::admin::{AdminError, NewToken, UserPatch};
use oncegate::core::CoreError;
use oncegate::login::{LoginAnswer, LoginRequest};
use oncegate::model::audit::Channel;
use oncegate::model::client::{Client, Scope};
use oncegate::model::id::Serial;
use oncegate::model::kind::Kind;
use oncegate::model::reason::Reason;
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::model::user_key::UserKey;
use oncegate::otp::totp::{Parameters, TimeStep};
use oncegate::otp::{Algorithm, Code, Digits, Period, Typed, hotp, totp};
use oncegate::secret::{OtpKey, SecretBytes, SecretString};
use oncegate::service::Service;
use oncegate::store::By;
use oncegate::time::{FixedClock, UnixTime};

use crate::support::base::Base;

const START: UnixTime = UnixTime::from_secs(1_795_000_020);
const PERIOD: Duration = Duration::from_secs(30);

struct House {
    service: Arc<Service>,
    clock: FixedClock,
    client: Client,
}

impl House {
    async fn new() -> Self {
        let base = Base::at(START);
        let service = base.service();
        let by = by(&service);
        let scopes = vec![Scope::Verify];
        let (client, _) = service
            .admin
            .add_api_client("app".to_owned(), scopes, None, None, by)
            .await
            .unwrap();
        let house = Self {
            service,
            clock: base.clock,
            client,
        };
        house
            .service
            .admin
            .add_user(key("alice"), UserPatch::default(), house.by())
            .await
            .unwrap();
        house
    }

    fn by(&self) -> By {
        by(&self.service)
    }

    async fn token(&self, kind: Kind, active: bool) -> Serial {
        let new = NewToken {
            user: key("alice"),
            kind,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: Some(SecretBytes::from(&b"12345678901234567890"[..])),
            counter: 0,
            active,
            serial: None,
        };
        self.service
            .admin
            .add_token(new, self.by())
            .await
            .unwrap()
            .serial
    }

    async fn ask(&self, user: &str, code: &str) -> Result<(bool, Reason), CoreError> {
        self.ask_over(Channel::Http, user, code).await
    }

    async fn ask_over(
        &self,
        channel: Channel,
        user: &str,
        code: &str,
    ) -> Result<(bool, Reason), CoreError> {
        let (id, at) = self.service.core.arrival()?;
        let code = SecretString::from(code);
        let request = LoginRequest {
            id,
            at,
            deadline: at.plus(Duration::from_secs(3)),
            client: &self.client,
            channel,
            method: "http",
            user,
            presented: oncegate::login::Presented::Passcode(&code),
            challenge: None,
            rounds: true,
            source: None,
            attributes: &[],
            origin: None,
            serial: None,
            carrier: None,
            context: &[],
        };
        let decided = self.service.login.authenticate(&request).await?;
        Ok((
            matches!(decided.answer, LoginAnswer::Accept(_)),
            decided.reason,
        ))
    }

    async fn resync(
        &self,
        serial: &Serial,
        first: &str,
        second: &str,
    ) -> Result<(Token, TokenState), AdminError> {
        self.service
            .admin
            .resync_token(serial, &typed(first), &typed(second), self.by())
            .await
    }

    async fn reason(&self, code: &str) -> Reason {
        self.ask("alice", code).await.unwrap().1
    }

    /// The code of the step that is `steps` away from the present one.
    fn totp(&self, steps: i64) -> String {
        let now = TimeStep::at(self.service.core.now(), Period::THIRTY).get();
        let parameters = Parameters::default();
        let step = TimeStep::new(now.checked_add_signed(steps).unwrap());
        let code = totp::generate(&otp_key(), parameters, step);
        code.expose().expose().to_owned()
    }
}

fn by(service: &Service) -> By {
    let (request, at) = service.core.arrival().unwrap();
    By {
        request,
        actor: "test".to_owned(),
        person: None,
        at,
        limited: false,
    }
}

fn key(name: &str) -> UserKey {
    UserKey::parse(name).unwrap()
}

fn otp_key() -> OtpKey {
    OtpKey::new(SecretBytes::from(&b"12345678901234567890"[..])).unwrap()
}

fn hotp_code(counter: u64) -> String {
    let code = hotp::generate(&otp_key(), Algorithm::Sha1, Digits::SIX, counter);
    code.expose().expose().to_owned()
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn typed(text: &str) -> Typed {
    Typed::parse(text).unwrap()
}

#[tokio::test]
async fn the_window_is_now_and_one_step_back() {
    for (steps, reason) in [
        (-2, Reason::WrongCode),
        (-1, Reason::TotpOk),
        (0, Reason::TotpOk),
        (1, Reason::WrongCode),
    ] {
        let house = House::new().await;
        house.token(Kind::Totp, true).await;
        assert_eq!(
            house.reason(&house.totp(steps)).await,
            reason,
            "step {steps}"
        );
    }
}

#[tokio::test]
async fn a_code_dies_with_its_window_to_the_millisecond() {
    let house = House::new().await;
    house.token(Kind::Totp, true).await;
    let shown = house.totp(0);
    let end = UnixTime::from_secs(START.as_secs() / 30 * 30 + 60);
    house.clock.set(end);
    assert_eq!(house.reason(&shown).await, Reason::WrongCode);
    let house = House::new().await;
    house.token(Kind::Totp, true).await;
    house.clock.set(UnixTime::from_millis(end.as_millis() - 1));
    assert_eq!(house.reason(&shown).await, Reason::TotpOk);
}

#[tokio::test]
async fn a_slow_clock_is_learned_and_no_step_is_accepted_twice() {
    let house = House::new().await;
    house.token(Kind::Totp, true).await;
    for lag in [-1, -2, -3, -4] {
        house.clock.advance(PERIOD * 4);
        let expected = if lag < -3 {
            Reason::WrongCode
        } else {
            Reason::TotpOk
        };
        let shown = house.totp(lag);
        assert_eq!(house.reason(&shown).await, expected, "lag {lag}");
        if expected == Reason::TotpOk {
            assert_eq!(house.reason(&shown).await, Reason::UsedCode, "lag {lag}");
        }
    }
    // The base window stays open: a code of the present step still works.
    house.clock.advance(PERIOD * 4);
    assert_eq!(house.reason(&house.totp(0)).await, Reason::TotpOk);
}

#[tokio::test]
async fn an_older_code_is_dead_once_a_newer_one_was_used() {
    let house = House::new().await;
    house.token(Kind::Totp, true).await;
    assert_eq!(house.reason(&house.totp(0)).await, Reason::TotpOk);
    assert_eq!(house.reason(&house.totp(-1)).await, Reason::UsedCode);
}

#[tokio::test]
async fn a_clock_set_back_re_opens_nothing() {
    let house = House::new().await;
    house.token(Kind::Totp, true).await;
    let harvested = house.totp(0);
    house.clock.advance(Duration::from_hours(1));
    let used = house.totp(0);
    assert_eq!(house.reason(&used).await, Reason::TotpOk);
    house.clock.set(START);
    let refused = house.ask("alice", &harvested).await;
    assert!(
        matches!(refused, Err(CoreError::ClockBehind { .. })),
        "{refused:?}"
    );
    // A few seconds are the business of NTP: time stands still instead.
    house.clock.set(UnixTime::from_secs(START.as_secs() + 3590));
    assert_eq!(house.reason("000000").await, Reason::WrongCode);
    // The administrator may vouch for the clock; used steps stay used, and the others are good once.
    house.clock.set(START);
    house
        .service
        .admin
        .recover_clock(None, 100, house.by())
        .await
        .unwrap();
    assert_eq!(house.reason(&used).await, Reason::WrongCode);
    assert_eq!(house.reason(&harvested).await, Reason::TotpOk);
    assert_eq!(house.reason(&harvested).await, Reason::UsedCode);
    house.clock.advance(Duration::from_hours(1));
    assert_eq!(house.reason(&used).await, Reason::UsedCode);
}

#[tokio::test]
async fn counters_look_ahead_and_resynchronise() {
    let house = House::new().await;
    let serial = house.token(Kind::Hotp, true).await;
    assert_eq!(house.reason(&hotp_code(5)).await, Reason::HotpOk);
    assert_eq!(
        house.reason(&hotp_code(12)).await,
        Reason::WrongCode,
        "6 + 5 is the last"
    );
    let (first, second) = (hotp_code(40), hotp_code(41));
    let found = house.resync(&serial, &first, &second);
    assert_eq!(found.await.unwrap().1.moving.last, Some(41));
    assert_eq!(
        house.reason(&hotp_code(41)).await,
        Reason::UsedCode,
        "resync consumes"
    );
    assert_eq!(house.reason(&hotp_code(42)).await, Reason::HotpOk);
    let (first, second) = (hotp_code(41), hotp_code(42));
    let again = house.resync(&serial, &first, &second);
    assert!(matches!(
        again.await,
        Err(AdminError::Refused(Reason::WrongCode))
    ));
}

#[tokio::test]
async fn resync_finds_a_clock_that_is_minutes_off() {
    let house = House::new().await;
    let serial = house.token(Kind::Totp, true).await;
    let (first, second) = (house.totp(10), house.totp(11));
    assert_eq!(house.reason(&first).await, Reason::WrongCode);
    let found = house.resync(&serial, &first, &second);
    assert_eq!(found.await.unwrap().1.moving.drift.offset(), 11);
    assert_eq!(house.reason(&second).await, Reason::UsedCode);
    house.clock.advance(PERIOD);
    assert_eq!(house.reason(&house.totp(11)).await, Reason::TotpOk);
}

#[tokio::test]
async fn only_an_active_token_of_an_enabled_user_counts() {
    let house = House::new().await;
    assert_eq!(house.reason("123456").await, Reason::NoToken);
    let serial = house.token(Kind::Hotp, false).await;
    // Its first code brings it into use; anything else does not.
    assert_eq!(house.reason("000000").await, Reason::WrongCode);
    let wrong = house
        .service
        .admin
        .confirm_token(&serial, &code("000000"), house.by())
        .await;
    assert!(matches!(wrong, Err(AdminError::Refused(Reason::WrongCode))));
    let right = house
        .service
        .admin
        .confirm_token(&serial, &code(&hotp_code(0)), house.by())
        .await;
    assert_eq!(right.unwrap().state, LifeCycle::Active);
    assert_eq!(
        house.reason(&hotp_code(0)).await,
        Reason::UsedCode,
        "confirming consumes"
    );
    assert_eq!(house.reason(&hotp_code(1)).await, Reason::HotpOk);
    let suspend = house.service.admin.suspend_token(&serial, None, house.by());
    suspend.await.unwrap();
    assert_eq!(house.reason(&hotp_code(2)).await, Reason::NotActive);
    house
        .service
        .admin
        .resume_token(&serial, None, house.by())
        .await
        .unwrap();
    let disable = UserPatch {
        disabled: Some(true),
        ..UserPatch::default()
    };
    house
        .service
        .admin
        .set_user(&key("alice"), disable, None, house.by())
        .await
        .unwrap();
    assert_eq!(house.reason(&hotp_code(2)).await, Reason::UserDisabled);
    assert_eq!(
        house.ask("nobody", "123456").await.unwrap().1,
        Reason::UnknownUser
    );
}

#[tokio::test]
async fn the_ladder_counts_over_both_front_ends() {
    let house = House::new().await;
    house.token(Kind::Hotp, true).await;
    for (failure, channel) in [
        Channel::Radius,
        Channel::Http,
        Channel::Radius,
        Channel::Http,
    ]
    .into_iter()
    .enumerate()
    {
        let answer = house.ask_over(channel, "alice", "000000").await.unwrap();
        assert_eq!(answer.1, Reason::WrongCode, "failure {failure}");
    }
    // 3 free, the fourth delays by a second: the right code is refused and not consumed.
    assert_eq!(house.reason(&hotp_code(0)).await, Reason::Throttled);
    assert_eq!(
        house.ask("ALICE@Default", &hotp_code(0)).await.unwrap().1,
        Reason::Throttled
    );
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(house.reason(&hotp_code(0)).await, Reason::HotpOk);
    // A success forgets them.
    for _ in 0..3 {
        assert_eq!(house.reason("000000").await, Reason::WrongCode);
    }
    assert_eq!(house.reason(&hotp_code(1)).await, Reason::HotpOk);
}

#[tokio::test]
async fn a_hundred_failures_lock_until_an_administrator_unlocks() {
    let house = House::new().await;
    house.token(Kind::Hotp, true).await;
    let mut evaluated = 0;
    while evaluated < 100 {
        if house.reason("000000").await == Reason::WrongCode {
            evaluated += 1;
        }
        house.clock.advance(Duration::from_mins(30));
    }
    house.clock.advance(Duration::from_hours(365 * 24));
    assert_eq!(house.reason(&hotp_code(0)).await, Reason::Locked);
    house
        .service
        .admin
        .unlock_user(&key("alice"), house.by())
        .await
        .unwrap();
    assert_eq!(house.reason(&hotp_code(0)).await, Reason::HotpOk);
}

#[tokio::test]
async fn only_the_canonical_form_of_a_code_is_a_code() {
    let house = House::new().await;
    house.token(Kind::Hotp, true).await;
    for typed in [
        "",
        "\t755224",
        "755224\u{a0}",
        "+755224",
        "75522",
        "\u{ff17}55224",
        "7552-24",
        "755224\0",
        "x",
    ] {
        assert_eq!(
            house.reason(typed).await,
            Reason::MalformedCode,
            "{typed:?}"
        );
    }
    for typed in ["7552240", "0755224"] {
        assert_eq!(house.reason(typed).await, Reason::WrongCode, "{typed:?}");
    }
    assert_eq!(house.reason("755224").await, Reason::HotpOk);
}

/// A caller that hangs up while the change is being made must not leave the client in force.
#[tokio::test]
async fn a_removed_client_is_out_of_force_although_nobody_waited() {
    let house = House::new().await;
    let by = by(&house.service);
    let removal = house.service.admin.remove_client("app", None, by);
    // Polled once, then dropped.
    let _ = tokio::time::timeout(Duration::ZERO, removal).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !house.service.core.clients().all().is_empty() {
        assert!(std::time::Instant::now() < deadline, "still in force");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
