//! Which login is made next, and what must come of it.
//!
//! A code may be used once per time step, so a load generator that does not keep books measures how
//! fast a server rejects. The books:
//!
//! ```text
//! ready ----- right code -----> on its way ---- answer ----> waiting until its next step ---> ready
//!   '-------- wrong code ----------^                            (HOTP, passwords: ready at once)
//! waiting --- the same code again -^   must be rejected
//! ```
//!
//! Invariants: a user has at most one login on its way, so that answers cannot overtake each other;
//! a code is sent again only after it was accepted, so that *reject* is certain; users whose last
//! login had no answer are not asked for it again before their next step. A user who typed wrong
//! [`PATIENCE`] times in a row may be locked, so nothing certain is expected of it.
//!
//! Limits: the clock of this machine must be right, and steps end: a server without a look back
//! rejects the code that was on its way when its step ended.

use std::collections::{BTreeMap, VecDeque};

use crate::cli::columns::Factor;
use crate::load::codes::{Codes, push_digits};
use crate::load::users::User;
use crate::otp::totp::{Drift, TimeStep, Window};
use crate::otp::{Code, Digits, hotp, totp};
use crate::secret::SecretString;
use crate::time::UnixTime;

/// The users of one worker.
#[derive(Debug)]
pub(super) struct Drill {
    users: Vec<User>,
    states: Vec<State>,
    ready: VecDeque<u32>,
    /// By the second in which the next step of these users begins.
    waiting: BTreeMap<u64, Waiting>,
    wrong: Share,
    replay: Share,
    spent: Spent,
    codes: Codes,
    /// What is typed in front of every code.
    pin: Option<SecretString>,
    draws: u32,
    /// Users on their way who are ready at once when they come back.
    returning: u32,
    /// When the last draw was.
    now: UnixTime,
}

/// What happens when every code of the present time step is used up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Spent {
    /// Send used codes again; they must be rejected
    #[default]
    Replay,
    /// End the run
    Stop,
    /// Send used codes again; they must be accepted, by a server that does not remember them
    Accept,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The lowest step that was not sent.
    next: u64,
    /// The step that was accepted last.
    accepted: Option<u64>,
    /// Wrong codes since the last right one.
    wrong: u8,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Their code of this step was accepted; the latest at the end.
    accepted: VecDeque<u32>,
    others: Vec<u32>,
}

/// A login on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket {
    user: u32,
    what: What,
    step: u64,
    pub(super) expect: Expect,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Right,
    Wrong,
    Replay,
}

/// What a server that works answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expect {
    Accept,
    Either,
    Reject,
}

/// What came back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Accept,
    Challenge,
    Reject,
    /// Nothing in time, or no decision.
    None,
}

impl Answer {
    /// Whether it must not have been.
    pub(super) fn is_unexpected(self, expect: Expect) -> bool {
        match self {
            Self::Accept | Self::Challenge => expect == Expect::Reject,
            Self::Reject => expect == Expect::Accept,
            Self::None => false,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Draw {
    /// This login.
    Send(Ticket),
    /// Nothing, until an answer came or this time is reached.
    Wait(Option<UnixTime>),
    /// Nothing any more.
    Over,
}

/// Parts of a whole, spread evenly: of ten logins with `10%` exactly one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Share {
    /// In millionths.
    part: u32,
    owed: u32,
}

impl Share {
    /// `10%` or `0.5%`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no share: write 10% or 0.5%");
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 4 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let part = format!("{whole}{fraction:0<4}")
            .parse()
            .map_err(|_| wrong())?;
        if part > WHOLE {
            return Err(wrong());
        }
        Ok(Self { part, owed: 0 })
    }

    pub(super) const fn is_zero(self) -> bool {
        self.part == 0
    }

    /// Whether more than all is asked for.
    pub(super) const fn exceeds_with(self, other: Self) -> bool {
        self.part + other.part > WHOLE
    }

    /// One more was drawn.
    fn owe(&mut self) {
        self.owed = (self.owed + self.part).min(MOST_OWED);
    }

    /// Whether it is the turn of these.
    const fn is_due(self) -> bool {
        self.owed >= WHOLE
    }

    /// One of these was sent.
    const fn paid(&mut self) {
        self.owed -= WHOLE;
    }
}

impl Drill {
    /// All users ready.
    pub(super) fn new(
        users: Vec<User>,
        codes: Codes,
        wrong: Share,
        replay: Share,
        spent: Spent,
    ) -> Self {
        let state = |user: &User| State {
            next: match user.factor {
                Factor::Hotp { counter, .. } => counter,
                Factor::Password(_) | Factor::Totp { .. } => 0,
            },
            ..State::default()
        };
        Self {
            states: users.iter().map(state).collect(),
            ready: (0..users.len())
                .filter_map(|index| u32::try_from(index).ok())
                .collect(),
            waiting: BTreeMap::new(),
            users,
            wrong,
            replay,
            spent,
            codes,
            pin: None,
            draws: 0,
            returning: 0,
            now: UnixTime::EPOCH,
        }
    }

    /// With this typed in front of every code.
    pub(super) fn behind(self, pin: Option<SecretString>) -> Self {
        Self { pin, ..self }
    }

    /// Whether what is typed is more than a code.
    pub(super) const fn has_pin(&self) -> bool {
        self.pin.is_some()
    }

    /// The users, counters of HOTP tokens where the run left them.
    pub(super) fn into_users(self) -> Vec<User> {
        let mut users = self.users;
        for (user, state) in users.iter_mut().zip(&self.states) {
            if let Factor::Hotp { counter, .. } = &mut user.factor {
                *counter = state.next;
            }
        }
        users
    }

    /// The name of a login's user.
    pub(super) fn name(&self, ticket: Ticket) -> &str {
        self.users
            .get(ticket.user as usize)
            .map_or("", |user| &user.name)
    }

    /// Whether the user's password is one, not a code.
    pub(super) fn is_password(&self, ticket: Ticket) -> bool {
        let user = self.users.get(ticket.user as usize);
        user.is_some_and(|user| matches!(user.factor, Factor::Password(_)))
    }

    /// Chooses a login and writes what is typed for it into `typed`.
    pub(super) fn next(&mut self, now: UnixTime, typed: &mut Vec<u8>) -> Draw {
        self.now = now;
        self.wake(now);
        typed.clear();
        self.draws = self.draws.wrapping_add(1);
        self.wrong.owe();
        self.replay.owe();
        // Where it is the turn of both, or no user is ready, it stays owed.
        if self.wrong.is_due()
            && let Some(user) = self.for_wrong()
        {
            self.wrong.paid();
            return self.send(user, What::Wrong, now, typed);
        }
        if self.replay.is_due()
            && let Some(user) = self.for_replay()
        {
            self.replay.paid();
            return self.send(user, What::Replay, now, typed);
        }
        if let Some(user) = self.ready.pop_front() {
            return self.send(user, What::Right, now, typed);
        }
        let again = match self.spent {
            Spent::Stop if self.waiting.is_empty() || self.returning > 0 => None,
            Spent::Stop => return Draw::Over,
            Spent::Replay => self.waiting_accepted(),
            Spent::Accept => self.waiting_any(),
        };
        match again {
            Some(user) => self.send(user, What::Replay, now, typed),
            None => Draw::Wait(
                self.waiting
                    .first_key_value()
                    .map(|(second, _)| UnixTime::from_secs(*second)),
            ),
        }
    }

    /// Takes note of an answer.
    pub(super) fn note_answer(&mut self, ticket: Ticket, answer: Answer, now: UnixTime) {
        let Some(state) = self.states.get_mut(ticket.user as usize) else {
            return;
        };
        match (ticket.what, answer) {
            (What::Right, Answer::Accept) => {
                state.accepted = Some(ticket.step);
                state.wrong = 0;
            }
            (What::Right, _) => state.accepted = None,
            (What::Wrong, Answer::Accept) => state.wrong = 0,
            (What::Wrong, _) => state.wrong = state.wrong.saturating_add(1),
            (What::Replay, _) => {}
        }
        let user = self.users.get(ticket.user as usize);
        if user.is_some_and(|user| !matches!(user.factor, Factor::Totp { .. })) {
            self.returning = self.returning.saturating_sub(1);
        }
        self.give_back(ticket.user, now);
    }

    /// Puts users whose next step has begun back to work.
    fn wake(&mut self, now: UnixTime) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() <= now.as_secs()
        {
            let users = entry.remove();
            self.ready.extend(users.accepted);
            self.ready.extend(users.others);
        }
    }

    /// A user who did not type wrong too often, of those who wait where none is ready.
    fn for_wrong(&mut self) -> Option<u32> {
        for _ in 0..LOOK {
            let ready = self.ready.pop_front();
            let user = match ready {
                Some(user) => user,
                None => self.take_waiting(|users| users.accepted.pop_front())?,
            };
            let state = self.states.get(user as usize)?;
            // Where all codes are to be wrong, one of them must.
            if state.wrong + 1 < PATIENCE || self.wrong.part == WHOLE {
                return Some(user);
            }
            if ready.is_some() {
                self.ready.push_back(user);
            } else {
                self.give_back(user, self.now);
            }
        }
        None
    }

    /// A user whose code was accepted a moment ago.
    fn for_replay(&mut self) -> Option<u32> {
        if let Some(user) = self.waiting_accepted() {
            return Some(user);
        }
        let user = *self.ready.back()?;
        let state = self.states.get(user as usize)?;
        let is_code = self
            .users
            .get(user as usize)
            .is_some_and(|user| !matches!(user.factor, Factor::Password(_)));
        if state.accepted.is_some() && is_code {
            self.ready.pop_back();
            return Some(user);
        }
        None
    }

    fn waiting_accepted(&mut self) -> Option<u32> {
        self.take_waiting(|users| users.accepted.pop_back())
    }

    fn waiting_any(&mut self) -> Option<u32> {
        self.take_waiting(|users| users.accepted.pop_front().or_else(|| users.others.pop()))
    }

    fn take_waiting(&mut self, pop: impl Fn(&mut Waiting) -> Option<u32>) -> Option<u32> {
        let (second, user) = self
            .waiting
            .iter_mut()
            .find_map(|(second, users)| Some((*second, pop(users)?)))?;
        // An entry without users would look like a user to wait for.
        let empty = |users: &Waiting| users.accepted.is_empty() && users.others.is_empty();
        if self.waiting.get(&second).is_some_and(empty) {
            self.waiting.remove(&second);
        }
        Some(user)
    }

    fn give_back(&mut self, index: u32, now: UnixTime) {
        let (Some(user), Some(state)) = (
            self.users.get(index as usize),
            self.states.get(index as usize),
        ) else {
            return;
        };
        let Factor::Totp { parameters, .. } = &user.factor else {
            self.ready.push_back(index);
            return;
        };
        let step = TimeStep::at(now, parameters.period).get();
        if state.next <= step {
            self.ready.push_back(index);
            return;
        }
        let second = state.next * u64::from(parameters.period.as_secs());
        let waiting = self.waiting.entry(second).or_default();
        if state.accepted.is_some() {
            waiting.accepted.push_back(index);
        } else {
            waiting.others.push(index);
        }
    }

    /// Writes the code and makes the ticket.
    fn send(&mut self, index: u32, what: What, now: UnixTime, typed: &mut Vec<u8>) -> Draw {
        let (Some(user), Some(state)) = (
            self.users.get(index as usize),
            self.states.get_mut(index as usize),
        ) else {
            return Draw::Over;
        };
        if !matches!(user.factor, Factor::Totp { .. }) {
            self.returning += 1;
        }
        let again = |state: &State| {
            state
                .accepted
                .unwrap_or_else(|| state.next.saturating_sub(1))
        };
        let (step, code, digits) = match &user.factor {
            Factor::Password(password) => {
                typed.extend_from_slice(password.expose().as_bytes());
                if what == What::Wrong {
                    typed.extend_from_slice(b"-wrong");
                }
                return Draw::Send(ticket(index, what, 0, *state, self.spent));
            }
            Factor::Hotp {
                key,
                algorithm,
                digits,
                ..
            } => {
                let step = match what {
                    What::Right | What::Wrong => state.next,
                    What::Replay => again(state),
                };
                let code = if what == What::Wrong {
                    let near = |code: &Code| {
                        let found = hotp::find(key, *algorithm, *digits, code, step, NEAR_COUNTERS);
                        found.is_empty()
                    };
                    wrong_code(self.draws, *digits, near)
                } else {
                    hotp::generate(key, *algorithm, *digits, step).value()
                };
                (step, code, *digits)
            }
            Factor::Totp { key, parameters } => {
                let present = TimeStep::at(now, parameters.period).get();
                let step = match what {
                    What::Right | What::Wrong => present,
                    What::Replay => again(state),
                };
                let code = if what == What::Wrong {
                    let near = |code: &Code| {
                        let drift = Drift::default();
                        totp::find(key, *parameters, code, now, drift, NEAR_STEPS).is_empty()
                    };
                    wrong_code(self.draws, parameters.digits, near)
                } else {
                    self.codes.code(index, key, *parameters, step)
                };
                (step, code, parameters.digits)
            }
        };
        write(self.pin.as_ref(), code, digits, typed);
        let ticket = ticket(index, what, step, *state, self.spent);
        if what == What::Right {
            state.next = step + 1;
        }
        Draw::Send(ticket)
    }
}

/// Writes a code, behind the PIN.
fn write(pin: Option<&SecretString>, code: u32, digits: Digits, typed: &mut Vec<u8>) {
    if let Some(pin) = pin {
        typed.extend_from_slice(pin.expose().as_bytes());
    }
    push_digits(typed, code, digits);
}

fn ticket(user: u32, what: What, step: u64, state: State, spent: Spent) -> Ticket {
    let expect = match what {
        What::Replay if spent == Spent::Accept => Expect::Accept,
        What::Replay | What::Wrong => Expect::Reject,
        What::Right if state.wrong >= PATIENCE => Expect::Either,
        What::Right => Expect::Accept,
    };
    Ticket {
        user,
        what,
        step,
        expect,
    }
}

/// A number that is no code of the steps around.
fn wrong_code(seed: u32, digits: Digits, is_wrong: impl Fn(&Code) -> bool) -> u32 {
    // An odd factor visits every number once.
    let mut number = seed.wrapping_mul(2_654_435_761) % digits.modulus();
    while let Some(code) = Code::from_value(number, digits)
        && !is_wrong(&code)
    {
        number = (number + 1) % digits.modulus();
    }
    number
}

/// A whole in millionths.
const WHOLE: u32 = 1_000_000;
/// As many wrong codes in a row as a careful server lets pass without a pause.
const PATIENCE: u8 = 3;
/// Turns that no user could take are made up for later, but not without end.
const MOST_OWED: u32 = 100 * WHOLE;
/// How many users are looked at for one who may type wrong.
const LOOK: usize = 8;
/// Beyond every window that is in use.
const NEAR_STEPS: Window = Window { back: 4, ahead: 4 };
const NEAR_COUNTERS: u32 = 20;

#[cfg(test)]
#[path = "drill/tests.rs"]
mod tests;
