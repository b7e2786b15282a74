//! Compares what was typed with the codes that we made: sent ones, fetched ones, cards, recovery
//! codes. Pure: everything is an argument.
//!
//! A code of a key that the person holds is compared by [`crate::login::match_otp`].
//!
//! Invariants: the same work is done whether or not there is a live code, and whichever client it
//! was made for; what does not have the form of a token's codes is not a guess at its live code, so that
//! a code for one token does not use up the tries of another.

use crate::model::attempt::{Comparison, DriftRule};
use crate::model::issue::{Issued, Way};
use crate::model::kind::Kind;
use crate::model::token::{Token, TokenState};
use crate::otp::card::Pair;
use crate::otp::issued::{Mark, canonical};
use crate::otp::{Code, Digits, Matches, card, recovery};

/// Compares with the live code of a token of the kinds `server`, `sms`, `email`, `voice`, with the
/// cells that are asked for of a card, or with all codes of a recovery sheet. `client` is who
/// presents it. Whether a match is still good is decided with the newest state
/// ([`crate::model::settle::settle`]).
pub(crate) fn compare_issued(
    token: &Token,
    state: &TokenState,
    client: Option<&str>,
    typed: &str,
) -> Comparison {
    let mut matches = Matches::default();
    let mut issued = None;
    match token.kind {
        Kind::Recovery => {
            if let Some(text) = canonical(typed, recovery::LENGTH) {
                // What was not printed is marked as used; all of them are compared.
                matches = recovery::find(&token.key, recovery::MAX, &text);
            }
        }
        Kind::Card => {
            let live = state.issued.filter(|drawn| drawn.pair.is_some());
            let typed = Code::parse(typed).ok();
            let typed = typed.filter(|code| code.digits() == Digits::SEVEN);
            let right = is_answer(token, live, typed.as_ref());
            issued = guessed_at(live, typed.is_some());
            right_code(&mut matches, live, right);
        }
        _ => {
            let live = state.issued.filter(|issued| issued.way == Way::Code);
            let formed = Code::parse(typed).is_ok_and(|code| code.digits() == token.digits);
            let right = is_marked(token, live, client, typed);
            issued = guessed_at(live, formed);
            right_code(&mut matches, live, right && formed);
        }
    }
    Comparison {
        serial: token.serial.clone(),
        kind: token.kind,
        issued,
        revision: token.revision,
        seen: state.moving,
        matches,
        drift: DriftRule::None,
        first: false,
    }
}

/// Whether this is the answer to the cells that are asked for.
fn is_answer(token: &Token, live: Option<Issued>, typed: Option<&Code>) -> bool {
    let no_user = Pair {
        first: 1,
        second: 2,
    };
    let pair = live.and_then(|drawn| drawn.pair).unwrap_or(no_user);
    let answer = card::answer(&token.key, token.tail(), pair);
    answer.as_ref() == typed && answer.is_some()
}

/// Whether this is the text of the live code, for this client or for any.
fn is_marked(token: &Token, live: Option<Issued>, client: Option<&str>, typed: &str) -> bool {
    let mark_of = |client| Mark::of(&token.key, Way::Code.as_str(), client, typed);
    let mark = live.map_or(Mark::from_bytes([0; 16]), |issued| issued.mark);
    let bound = mark == mark_of(client);
    let unbound = mark == mark_of(None);
    bound | unbound
}

fn guessed_at(live: Option<Issued>, formed: bool) -> Option<u64> {
    live.filter(|_| formed).map(|issued| issued.number)
}

fn right_code(matches: &mut Matches, live: Option<Issued>, right: bool) {
    if let Some(issued) = live.filter(|_| right) {
        matches.insert(issued.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::enrolment::Enrolment;
    use crate::model::token::LifeCycle;
    use crate::model::user_key::UserKey;
    use crate::otp::{Algorithm, Period};
    use crate::secret::{OtpKey, SecretBytes};
    use crate::time::UnixTime;

    fn token(kind: Kind) -> Token {
        Token {
            serial: "CARD-12345678".parse().unwrap(),
            user: UserKey::parse("alice").unwrap(),
            kind,
            state: LifeCycle::Active,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: OtpKey::new(SecretBytes::new(vec![5; 20])).unwrap(),
            address: None,
            device: None,
            expires: None,
            enrolment: Enrolment::default(),
            created: UnixTime::EPOCH,
            revision: 7,
        }
    }

    fn live(token: &Token, way: Way, client: Option<&str>, text: &str) -> TokenState {
        TokenState {
            issued: Some(Issued {
                number: 3,
                way,
                mark: Mark::of(&token.key, way.as_str(), client, text),
                pair: None,
                expires: UnixTime::from_secs(1),
                tries: 0,
                answered: false,
            }),
            ..TokenState::default()
        }
    }

    fn found(comparison: &Comparison) -> Vec<u64> {
        comparison.matches.iter().collect()
    }

    #[test]
    fn a_sent_code_is_for_its_client_or_for_all() {
        let token = token(Kind::Sms);
        let any = live(&token, Way::Code, None, "123456");
        let vpn = live(&token, Way::Code, Some("vpn"), "123456");
        for (state, client, right) in [
            (&any, None, true),
            (&any, Some("vpn"), true),
            (&vpn, Some("vpn"), true),
            (&vpn, Some("web"), false),
            (&vpn, None, false),
        ] {
            let compared = compare_issued(&token, state, client, "123456");
            assert_eq!(compared.issued, Some(3));
            assert_eq!(!compared.matches.is_empty(), right, "{client:?}");
        }
    }

    #[test]
    fn what_has_another_form_is_no_guess() {
        let token = token(Kind::Sms);
        let state = live(&token, Way::Code, None, "123456");
        for typed in ["1234567", "12345", "12345a", " 123456", "", "\u{ff11}23456"] {
            let compared = compare_issued(&token, &state, None, typed);
            assert!(
                compared.issued.is_none() && compared.matches.is_empty(),
                "{typed}"
            );
        }
        let wrong = compare_issued(&token, &state, None, "654321");
        assert!(wrong.issued == Some(3) && wrong.matches.is_empty());
        let none = compare_issued(&token, &TokenState::default(), None, "123456");
        assert!(none.issued.is_none() && none.matches.is_empty());
    }

    #[test]
    fn an_enrolment_code_is_no_login_code() {
        let token = token(Kind::Server);
        for way in [Way::Enrol, Way::Inbound, Way::Transfer] {
            let state = live(&token, way, None, "123456");
            let compared = compare_issued(&token, &state, None, "123456");
            assert!(compared.issued.is_none() && compared.matches.is_empty());
        }
    }

    #[test]
    fn row_d2_a_card_is_answered_by_the_cells_that_were_drawn() {
        let token = token(Kind::Card);
        let mut state = live(&token, Way::Code, None, "");
        let pair = Pair {
            first: 7,
            second: 23,
        };
        let issued = state.issued.as_mut().unwrap();
        issued.pair = Some(pair);
        let answer = card::answer(&token.key, 678, pair).unwrap().expose();
        let right = compare_issued(&token, &state, None, answer.expose());
        assert_eq!((right.issued, found(&right)), (Some(3), vec![3]));
        let other = if answer.expose() == "6780000" {
            "6780001"
        } else {
            "6780000"
        };
        let wrong = compare_issued(&token, &state, None, other);
        assert!(wrong.issued == Some(3) && wrong.matches.is_empty());
        let short = compare_issued(&token, &state, None, &answer.expose()[3..]);
        assert!(short.issued.is_none() && short.matches.is_empty());
    }

    #[test]
    fn recovery_codes_are_found_however_they_are_written() {
        let token = token(Kind::Recovery);
        let sheet = recovery::sheet(&token.key, 10);
        let typed = sheet[4].expose().to_lowercase();
        let compared = compare_issued(&token, &TokenState::default(), None, &typed);
        assert_eq!((compared.issued, found(&compared)), (None, vec![4]));
        let wrong = compare_issued(&token, &TokenState::default(), None, "123456");
        assert!(wrong.matches.is_empty());
    }
}
