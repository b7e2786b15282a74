//! Every order of every selection of {password, PIN, code}, in every form, with every part wrong,
//! missing or used, through both front ends: the decision, the audit's word, what is used up, and
//! that no two rejects differ.

use std::collections::HashSet;
use std::sync::Arc;

use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::policy::Factor;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::expected::{
    Codes, Form, ORDERS, Order, PASSWORD, PIN, Part, Way, cases, joined,
};
use crate::support::lab::{Heard, Lab, code_of};

/// Capabilities A6.
#[tokio::test]
async fn separate_fields_at_once() {
    let forms = [Form::Joined, Form::Challenge, Form::Either];
    play(&forms, Way::Fields).await;
}

#[tokio::test]
async fn separate_fields_one_after_another() {
    play(&[Form::Challenge, Form::Either], Way::FieldRounds).await;
}

/// Capabilities C3.
#[tokio::test]
async fn one_box_with_everything_over_http() {
    let way = Way::Box { radius: false };
    play(&[Form::Joined, Form::Either], way).await;
}

#[tokio::test]
async fn one_box_with_everything_over_radius() {
    let way = Way::Box { radius: true };
    play(&[Form::Joined, Form::Either], way).await;
}

#[tokio::test]
async fn one_box_after_another_over_http() {
    let way = Way::BoxRounds { radius: false };
    play(&[Form::Challenge, Form::Either], way).await;
}

#[tokio::test]
async fn one_box_after_another_over_radius() {
    let way = Way::BoxRounds { radius: true };
    play(&[Form::Challenge, Form::Either], way).await;
}

/// All orders in these forms, each by a user of its own: nobody answers more than a few challenges
/// a minute.
async fn play(forms: &[Form], way: Way) {
    let mut lines = Vec::new();
    for order in ORDERS {
        for form in forms {
            // Nothing is left for a second round.
            if order.len() > 1 || *form == Form::Joined {
                lines.push((name_of(order, *form), order, *form));
            }
        }
    }
    let texts = lines.iter().map(|(_, order, form)| policy(order, *form));
    let texts: Vec<String> = texts.collect();
    let policies = lines.iter().zip(&texts);
    let policies: Vec<(&str, &str)> = policies
        .map(|((name, ..), text)| (name.as_str(), text.as_str()))
        .collect();
    let lab = Arc::new(Lab::new(&policies).await);
    lab.user("first", Some(PIN), Some(PASSWORD)).await;
    let mut tasks = JoinSet::new();
    for (name, order, form) in lines {
        let lab = Arc::clone(&lab);
        tasks.spawn(async move {
            lab.same_user(&name, "first").await;
            lab.token(&name, Kind::Hotp, Digits::SIX).await;
            let line = Line {
                lab: &lab,
                name: &name,
                order,
                form,
                way,
            };
            let all = matches!(way, Way::Fields | Way::Box { .. });
            let mut rejects = HashSet::new();
            for (number, case) in cases(order, all).iter().enumerate() {
                line.run(number, case, &mut rejects).await;
            }
            rejects
        });
    }
    let rejects: HashSet<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(rejects.len(), 1, "{rejects:?}");
}

fn name_of(order: Order, form: Form) -> String {
    let words: Vec<_> = order.iter().map(|factor| factor.as_str()).collect();
    format!("{}-{form:?}", words.join("-")).to_lowercase()
}

/// Nobody is locked here, and nothing waits.
fn policy(order: Order, form: Form) -> String {
    let present = format!("{form:?}").to_lowercase();
    let words: Vec<_> = order.iter().map(|factor| factor.as_str()).collect();
    format!(
        "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = {words:?}\npresent = \"{present}\"\n\
         [lockout]\nfree = 10000\nlock_after = 10000\nhard_lock_after = 10000\nsource_lock_after = 0\n"
    )
}

/// One user of one policy, both of one name, and how the parts travel.
struct Line<'a> {
    lab: &'a Lab,
    name: &'a str,
    order: Order,
    form: Form,
    way: Way,
}

impl Line<'_> {
    async fn run(&self, number: usize, case: &[Part], rejects: &mut HashSet<String>) {
        let rounds = matches!(self.way, Way::FieldRounds | Way::BoxRounds { .. });
        if rounds && case[0] == Part::Missing {
            // It begins the rounds: `faults::d3_user_name_first`.
            return;
        }
        let last = self.lab.last(self.name);
        let next = last.map_or(0, |last| last + 1);
        let code = |step| code_of(self.name, Digits::SIX, step);
        let codes = Codes {
            fresh: code(next),
            used: last.map(code),
            wrong: code(next + 1000),
        };
        let parts = self.order.iter().zip(case);
        let texts: Vec<String> = parts
            .map(|(factor, part)| codes.text(*factor, *part))
            .collect();
        // Every case comes with commas and without: one way on each front end.
        let comma = number.is_multiple_of(2) == matches!(self.way, Way::Box { radius: true });
        let separator = if comma { "," } else { "" };
        let typed = joined(&texts, separator);
        let expected = codes.expected(self.order, self.form, self.way, &texts, &typed);
        let at = format!("{} {:?} {case:?} {separator}", self.name, self.way);
        let mut challenge = None;
        for (round, word) in expected.words.iter().enumerate() {
            let texts = (texts.as_slice(), typed.as_str());
            let heard = self.ask(round, texts, challenge.as_deref()).await;
            let decision = self.lab.decision(self.name).await;
            let reason = decision.reason.as_str();
            assert_eq!(reason, *word, "{at} round {round}, {expected:?}");
            assert_eq!(heard.decision, decision.decision.as_str(), "{at} {heard:?}");
            if heard.decision == "reject" {
                rejects.insert(heard.seen);
            }
            challenge = heard.challenge;
        }
        let after = if expected.consumed { Some(next) } else { last };
        assert_eq!(self.lab.last(self.name), after, "{at}: consumed");
    }

    async fn ask(
        &self,
        round: usize,
        (texts, typed): (&[String], &str),
        challenge: Option<&str>,
    ) -> Heard {
        let mut body = json!({ "user": self.name, "challenge": challenge });
        let mut field = |factor: &Factor, text: &str| {
            if !text.is_empty() {
                body[factor.as_str()] = json!(text);
            }
        };
        let (radius, typed) = match self.way {
            Way::Fields => {
                let fields = self.order.iter().zip(texts);
                fields.for_each(|(factor, text)| field(factor, text));
                return self.lab.http(self.name, body).await;
            }
            Way::FieldRounds => {
                field(&self.order[round], &texts[round]);
                return self.lab.http(self.name, body).await;
            }
            Way::Box { radius } => (radius, typed),
            Way::BoxRounds { radius } => (radius, texts[round].as_str()),
        };
        if radius {
            let (lab, name) = (self.lab, self.name);
            return lab.radius(name, name, typed, challenge, None).await;
        }
        body["passcode"] = json!(typed);
        self.lab.http(self.name, body).await
    }
}
