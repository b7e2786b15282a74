use super::*;
use crate::load::codes;
use crate::load::users::{Kind, generate};
use crate::secret::SystemEntropy;

const START: UnixTime = UnixTime::from_secs(3_000_000);

struct Bench {
    drill: Drill,
    now: UnixTime,
    typed: Vec<u8>,
}

impl Bench {
    fn new(users: Vec<User>, wrong: &str, replay: &str, spent: Spent) -> Self {
        let until = UnixTime::from_secs(3_000_090);
        let codes = Codes::prepare(&users, START, until, codes::MOST, |_| ());
        let share = |text| Share::parse(text).unwrap();
        Self {
            drill: Drill::new(users, codes, share(wrong), share(replay), spent),
            now: START,
            typed: Vec::new(),
        }
    }

    fn totp(count: u32, wrong: &str, replay: &str, spent: Spent) -> Self {
        Self::new(made(count, Kind::Totp), wrong, replay, spent)
    }

    fn draw(&mut self) -> Draw {
        self.drill.next(self.now, &mut self.typed)
    }

    fn send(&mut self) -> Ticket {
        match self.draw() {
            Draw::Send(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.drill.note_answer(ticket, answer, self.now);
    }

    /// One login, answered as a server that works does.
    fn login(&mut self) -> Ticket {
        let ticket = self.send();
        let answer = match ticket.expect {
            Expect::Accept => Answer::Accept,
            Expect::Either | Expect::Reject => Answer::Reject,
        };
        self.answer(ticket, answer);
        ticket
    }
}

fn made(count: u32, kind: Kind) -> Vec<User> {
    generate(count, "u", kind, &SystemEntropy).unwrap()
}

fn is_right(drill: &Drill, ticket: Ticket, typed: &[u8]) -> bool {
    let text = std::str::from_utf8(typed).unwrap();
    let code = Code::parse(text).unwrap();
    match &drill.users[ticket.user as usize].factor {
        Factor::Totp { key, parameters } => {
            let window = Window { back: 0, ahead: 0 };
            let drift = Drift::default();
            !totp::find(key, *parameters, &code, START, drift, window).is_empty()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_user_logs_in_once_per_step_in_turn() {
    let mut bench = Bench::totp(3, "0%", "0%", Spent::Replay);
    let users: Vec<u32> = (0..3).map(|_| bench.login().user).collect();
    assert_eq!(users, [0, 1, 2]);
    // The step is used up: the last accepted code again, which must be rejected.
    let again = bench.login();
    assert_eq!((again.user, again.expect), (2, Expect::Reject));
    bench.now = UnixTime::from_secs(3_000_030);
    let users: Vec<u32> = (0..3).map(|_| bench.login().user).collect();
    assert_eq!(users.len(), 3);
    assert!(bench.drill.ready.is_empty());
}

#[test]
fn no_user_logs_in_twice_at_once() {
    let mut bench = Bench::totp(2, "0%", "0%", Spent::Replay);
    let first = bench.send();
    let second = bench.send();
    assert_ne!(first.user, second.user);
    assert_eq!(bench.draw(), Draw::Wait(None));
    bench.answer(first, Answer::Accept);
    assert_eq!(bench.send().expect, Expect::Reject);
}

#[test]
fn a_login_without_an_answer_is_not_asked_for_again_in_its_step() {
    let mut bench = Bench::totp(1, "0%", "0%", Spent::Replay);
    let lost = bench.send();
    bench.answer(lost, Answer::None);
    let next_step = UnixTime::from_secs(3_000_030);
    assert_eq!(bench.draw(), Draw::Wait(Some(next_step)));
    bench.now = next_step;
    assert_eq!(bench.send().expect, Expect::Accept);
}

#[test]
fn shares_are_exact_and_right_codes_are_right() {
    let mut bench = Bench::totp(2000, "10%", "5%", Spent::Stop);
    let (mut wrong, mut replayed) = (0, 0);
    // One more: the last of the thousand is the turn of both.
    for _ in 0..=1000 {
        let ticket = bench.login();
        wrong += u32::from(ticket.what == What::Wrong);
        replayed += u32::from(ticket.what == What::Replay);
        let right = is_right(&bench.drill, ticket, &bench.typed);
        assert_eq!(right, ticket.what != What::Wrong, "{ticket:?}");
        assert_eq!(ticket.expect == Expect::Accept, ticket.what == What::Right);
    }
    assert_eq!((wrong, replayed), (100, 50));
}

#[test]
fn no_user_types_wrong_three_times_in_a_row_unless_all_do() {
    let mut bench = Bench::new(made(1, Kind::Hotp), "90%", "0%", Spent::Stop);
    let streak: Vec<What> = (0..50).map(|_| bench.login().what).collect();
    let three = [What::Wrong; 3];
    assert!(streak.windows(3).all(|some| some != three), "{streak:?}");
    assert!(
        streak.windows(2).any(|some| some == &three[1..]),
        "{streak:?}"
    );
    let mut attack = Bench::totp(1, "100%", "0%", Spent::Stop);
    for _ in 0..200 {
        assert_eq!(attack.login().what, What::Wrong);
    }
}

#[test]
fn who_may_be_locked_may_be_answered_either_way() {
    let mut bench = Bench::totp(1, "0%", "0%", Spent::Stop);
    bench.drill.states[0].wrong = PATIENCE;
    let ticket = bench.send();
    assert_eq!(ticket.expect, Expect::Either);
    assert!(!Answer::Reject.is_unexpected(ticket.expect));
    bench.answer(ticket, Answer::Accept);
    assert_eq!(bench.drill.states[0].wrong, 0);
}

#[test]
fn the_run_ends_or_codes_are_used_again_as_was_asked_for() {
    let mut stop = Bench::totp(1, "0%", "0%", Spent::Stop);
    let only = stop.send();
    assert_eq!(stop.draw(), Draw::Wait(None));
    stop.answer(only, Answer::Accept);
    assert_eq!(stop.draw(), Draw::Over);
    let mut accept = Bench::totp(2, "0%", "0%", Spent::Accept);
    for user in [0, 1, 0, 1, 0] {
        let ticket = accept.login();
        assert_eq!((ticket.user, ticket.expect), (user, Expect::Accept));
        assert!(is_right(&accept.drill, ticket, &accept.typed));
    }
}

#[test]
fn counters_go_on_and_are_kept() {
    let mut bench = Bench::new(made(1, Kind::Hotp), "0%", "50%", Spent::Stop);
    let drawn: Vec<(What, u64)> = (0..4)
        .map(|_| {
            let ticket = bench.login();
            (ticket.what, ticket.step)
        })
        .collect();
    let (right, replay) = (What::Right, What::Replay);
    assert_eq!(drawn, [(right, 0), (replay, 0), (right, 1), (replay, 1)]);
    let users = bench.drill.into_users();
    assert!(matches!(users[0].factor, Factor::Hotp { counter: 2, .. }));
}

#[test]
fn passwords_are_right_or_wrong_every_time() {
    let user = User {
        name: "alice".into(),
        factor: Factor::Password("word".into()),
    };
    let mut bench = Bench::new(vec![user], "50%", "50%", Spent::Replay);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let ticket = bench.login();
        assert!(bench.drill.is_password(ticket));
        seen.push((ticket.expect, bench.typed.clone()));
    }
    let right = (Expect::Accept, b"word".to_vec());
    let wrong = (Expect::Reject, b"word-wrong".to_vec());
    assert_eq!(seen, [right.clone(), wrong.clone(), right, wrong]);
}

#[test]
fn shares_are_percentages() {
    for (text, part) in [
        ("0%", 0),
        ("100%", WHOLE),
        ("0.5%", 5000),
        ("12.3456%", 123_456),
    ] {
        assert_eq!(Share::parse(text).unwrap().part, part);
    }
    for text in ["", "%", "5", "101%", "-1%", ".5%", "1.23456%", "1e2%"] {
        assert!(Share::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_pin_stands_in_front_of_every_code() {
    let mut bench = Bench::totp(1, "0%", "0%", Spent::Stop);
    bench.drill = bench.drill.behind(Some(SecretString::from("471193")));
    bench.send();
    assert_eq!((bench.typed.len(), &bench.typed[..6]), (12, &b"471193"[..]));
}
