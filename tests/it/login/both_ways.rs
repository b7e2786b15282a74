//! The same logins by both ways to commit end the same way: in a thread that commits its batch itself, as a RADIUS
//! lane does, and by the writer's thread.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use oncegate::admin::{CredentialsPatch, NewVerifier, UserPatch};
use oncegate::login::{LoginAnswer, LoginRequest, Presented};
use oncegate::model::audit::{Channel, Event};
use oncegate::model::client::{Client, Require};
use oncegate::model::kind::Kind;
use oncegate::model::reason::{Decision, Reason};
use oncegate::model::user_key::UserKey;
use oncegate::secret::SecretString;
use oncegate::store::AuditQuery;
use oncegate::time::Clock as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::lane::{Login, commit, login};
use crate::support::service::{TestService, code_at};

const POLICY: &str = r#"reject_delay = "0s"

[[rule]]
name    = "staff"
when    = { group = "staff" }
require = ["pin", "otp"]
present = "either"

[[rule]]
name    = "everybody"
require = ["otp"]

[lockout]
free       = 2
lock_after = 4
"#;
const PIN: &str = "884213";
/// One that counts, one with a clock, one with a PIN, one who is disabled, one without a token; the last is not there.
const USERS: [&str; 6] = ["anna", "bert", "carl", "dora", "emil", "nemo"];
const COUNTS: usize = 0;
const KNOWS_PIN: usize = 2;
/// The second cannot carry a challenge.
const CLIENTS: [&str; 2] = ["vpn", "old"];

/// What is typed.
#[derive(Clone, Copy, Debug)]
enum Typed {
    /// The code so many steps, or counts, from now.
    Code(i64),
    Wrong,
    Nothing,
    Pin,
    /// The PIN, and the code behind it.
    Joined(i64),
    WrongPin,
    /// The code, to the challenge that is open.
    Answer(i64),
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    user: usize,
    client: usize,
    from: u8,
    typed: Typed,
}

/// Logins that come together, and how many seconds after those before.
type Round = (u64, Vec<Ask>);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let typed = prop_oneof![
        6 => (-2..=2_i64).prop_map(Typed::Code),
        2 => Just(Typed::Wrong),
        1 => Just(Typed::Nothing),
        2 => Just(Typed::Pin),
        3 => (-1..=1_i64).prop_map(Typed::Joined),
        1 => Just(Typed::WrongPin),
        3 => (-1..=1_i64).prop_map(Typed::Answer),
    ];
    let client = prop_oneof![5 => Just(0), 1 => Just(1_usize)];
    let ask = (0..USERS.len(), client, 1..=2_u8, typed);
    let ask = ask.prop_map(|(user, client, from, typed)| Ask {
        user,
        client,
        from,
        typed,
    });
    vec((0..60_u64, vec(ask, 1..10)), 1..16)
}

/// One of two services in the same state.
struct World {
    test: TestService,
    clients: Vec<Client>,
    /// Challenges that are open, by user.
    open: BTreeMap<usize, String>,
}

/// What is seen of an answer, but for what is drawn by lot.
#[derive(Debug, PartialEq)]
struct Seen {
    decision: Decision,
    reason: Reason,
    said: String,
    challenge: Option<String>,
}

impl World {
    async fn new() -> Self {
        let test = TestService::new(&[("policies/default.toml", POLICY)]);
        for (number, name) in USERS[..5].iter().enumerate() {
            let pin = (number == KNOWS_PIN).then(|| NewVerifier::Text(SecretString::from(PIN)));
            let patch = UserPatch {
                groups: (number == KNOWS_PIN).then(|| vec!["staff".to_owned()]),
                disabled: Some(*name == "dora"),
                credentials: CredentialsPatch {
                    pin,
                    ..CredentialsPatch::default()
                },
                ..UserPatch::default()
            };
            let key = UserKey::parse(name).unwrap();
            let added = test.service.admin.add_user(key, patch, test.by());
            added.await.unwrap();
            if *name != "emil" {
                let kind = if number == COUNTS {
                    Kind::Hotp
                } else {
                    Kind::Totp
                };
                test.token(name, kind).await;
            }
        }
        let mut clients = Vec::new();
        for (number, name) in CLIENTS.iter().enumerate() {
            let address = format!("192.0.2.{}/32", number + 1);
            test.client(name, &address, "a secret of a client", Require::True, None)
                .await;
            clients.push(test.service.admin.client(name).unwrap());
        }
        Self {
            test,
            clients,
            open: BTreeMap::new(),
        }
    }

    fn asked(&self, ask: Ask, round: u64) -> Login<'_, Seen> {
        let name = USERS[ask.user];
        let code = move |away: i64| match ask.user {
            COUNTS => code_at(name, round.saturating_add_signed(away)),
            _ => self.test.code(name, away),
        };
        let typed = match ask.typed {
            Typed::Code(away) | Typed::Answer(away) => code(away),
            Typed::Wrong => "000000".to_owned(),
            Typed::Nothing => String::new(),
            Typed::Pin => PIN.to_owned(),
            Typed::Joined(away) => format!("{PIN}{}", code(away)),
            Typed::WrongPin => format!("111111{}", code(0)),
        };
        login(async move {
            let (typed, service) = (SecretString::new(typed), &self.test.service);
            let (id, at) = service.core.arrival().unwrap();
            let answers = matches!(ask.typed, Typed::Answer(_));
            let open = self.open.get(&ask.user).filter(|_| answers);
            let request = LoginRequest {
                id,
                at,
                deadline: at.plus(Duration::from_mins(1)),
                client: &self.clients[ask.client],
                channel: Channel::Radius,
                method: "pap",
                user: name,
                presented: Presented::Passcode(&typed),
                serial: None,
                challenge: open.map(String::as_str),
                rounds: ask.client == 0,
                // Of each user their own: counters of an address are not of two users.
                source: Some(IpAddr::from([
                    10,
                    0,
                    u8::try_from(ask.user).unwrap(),
                    ask.from,
                ])),
                attributes: &[],
                context: &[],
                origin: None,
                carrier: None,
            };
            let outcome = service.login.authenticate(&request).await.unwrap();
            let (decision, said, challenge) = match outcome.answer {
                LoginAnswer::Accept(accepted) => (
                    Decision::Accept,
                    format!("{} {}", accepted.rule, accepted.assurance),
                    None,
                ),
                LoginAnswer::Challenge(asked) => (
                    Decision::Challenge,
                    format!("{:?} {}", asked.factor, asked.prompt),
                    Some(asked.id),
                ),
                LoginAnswer::Reject => (Decision::Reject, String::new(), None),
            };
            Seen {
                decision,
                reason: outcome.reason,
                said,
                challenge,
            }
        })
    }

    /// Keeps the challenges, and leaves them out.
    fn keep(&mut self, asks: &[Ask], mut seen: Vec<Seen>) -> Vec<Seen> {
        for (ask, seen) in asks.iter().zip(&mut seen) {
            if let Some(challenge) = seen.challenge.take() {
                self.open.insert(ask.user, challenge);
            }
        }
        seen
    }

    /// What is on record of each user; logins that come together may be recorded in any order.
    async fn recorded(&self) -> BTreeMap<String, Vec<String>> {
        let store = self.test.service.core.store();
        let query = AuditQuery {
            limit: 10_000,
            ..AuditQuery::default()
        };
        let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in store.audit(query).await.unwrap() {
            if let Event::Decision(event) = record.event {
                let line = format!(
                    "{:?} {:?} {:?} {:?} {:?} {} {}",
                    event.decision,
                    event.reason,
                    event.step,
                    event.rule,
                    event.note,
                    event.failures,
                    event.locked
                );
                recorded.entry(event.user).or_default().push(line);
            }
        }
        let report = store.verify_audit(Box::new(|_| ())).await.unwrap();
        assert_eq!(report.fault, None);
        for lines in recorded.values_mut() {
            lines.sort_unstable();
        }
        recorded
    }
}

/// What the cases reached, all together.
#[derive(Default)]
struct Reached {
    in_lane: usize,
    later: usize,
    reasons: HashSet<Reason>,
    accepted: [usize; USERS.len()],
}

async fn compare(rounds: &[Round], reached: &mut Reached) {
    let (mut lane, mut thread) = (World::new().await, World::new().await);
    for (number, (seconds, asks)) in rounds.iter().enumerate() {
        let round = u64::try_from(number).unwrap();
        for world in [&lane, &thread] {
            let now = world.test.clock.now().plus(Duration::from_secs(*seconds));
            world.test.clock.set(now);
        }
        // Of two of one user at once either may be first; what becomes of those, the tests of the store say.
        let mut users = HashSet::new();
        let is_first = |ask: &&Ask| users.insert(ask.user);
        let asks: Vec<Ask> = asks.iter().filter(is_first).copied().collect();

        let hold = lane.test.service.core.hold_batch();
        let logins = asks.iter().map(|ask| lane.asked(*ask, round)).collect();
        let ended = commit(hold, logins).await;
        reached.in_lane += usize::from(ended.here);
        reached.later += ended.later;
        let decided = lane.keep(&asks, ended.answers);

        let logins = asks.iter().map(|ask| thread.asked(*ask, round));
        let others = futures_util::future::join_all(logins).await;
        let others = thread.keep(&asks, others);
        assert_eq!(decided, others, "round {number}: {asks:?}");
        for (ask, seen) in asks.iter().zip(&decided) {
            reached.reasons.insert(seen.reason);
            reached.accepted[ask.user] += usize::from(seen.decision == Decision::Accept);
        }
    }
    assert_eq!(lane.recorded().await, thread.recorded().await);
}

#[test]
fn whole_logins_end_alike_by_both_ways_to_commit() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reached = std::cell::RefCell::new(Reached::default());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(16)
    });
    let ran = runner.run(&rounds(), |rounds| {
        runtime.block_on(compare(&rounds, &mut reached.borrow_mut()));
        Ok(())
    });
    ran.unwrap();
    let reached = reached.into_inner();
    let reasons = &reached.reasons;
    assert!(reached.in_lane > 20 && reached.later > 5, "{reasons:?}");
    for reason in [
        Reason::TotpOk,
        Reason::HotpOk,
        Reason::UsedCode,
        Reason::WrongCode,
        Reason::Locked,
    ] {
        assert!(reasons.contains(&reason), "{reason:?} of {reasons:?}");
    }
    let [anna, bert, carl, rest @ ..] = reached.accepted;
    assert!(anna > 0 && bert > 0 && carl > 0, "{:?}", reached.accepted);
    assert_eq!(rest, [0; 3]);
}
