//! What shall come of a login with several factors, worked out from contract s4 to s7 alone, on the
//! texts that are typed: which parts a box holds, which of them are looked at in a round, and what
//! the first wrong one is called.

use oncegate::policy::Factor;

/// As many digits as a code: nothing but the order tells them apart.
pub(crate) const PIN: &str = "280465";
pub(crate) const PASSWORD: &str = "Tr0ub4dor&3x";
pub(crate) const WRONG_PIN: &str = "280466";
pub(crate) const WRONG_PASSWORD: &str = "Tr0ub4dor&3y";

/// Every order of every selection.
pub(crate) const ORDERS: [&[Factor]; 15] = {
    use Factor::{Otp, Password, Pin};
    [
        &[Password],
        &[Pin],
        &[Otp],
        &[Password, Pin],
        &[Pin, Password],
        &[Password, Otp],
        &[Otp, Password],
        &[Pin, Otp],
        &[Otp, Pin],
        &[Password, Pin, Otp],
        &[Password, Otp, Pin],
        &[Pin, Password, Otp],
        &[Pin, Otp, Password],
        &[Otp, Password, Pin],
        &[Otp, Pin, Password],
    ]
};

pub(crate) type Order = &'static [Factor];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Joined,
    Challenge,
    Either,
}

/// How the parts travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// HTTP, all fields at once.
    Fields,
    /// HTTP, one field in each round.
    FieldRounds,
    /// One box with all parts.
    Box { radius: bool },
    /// One box, one part in each round.
    BoxRounds { radius: bool },
}

/// One part as it is presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Right,
    Wrong,
    /// A code that was accepted before.
    Used,
    Missing,
}

/// What shall come of it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Expected {
    /// The audit's words, one for each round.
    pub(crate) words: Vec<&'static str>,
    /// Whether the fresh code is used up in the end.
    pub(crate) consumed: bool,
}

/// All right first, so that there is a used code; then what is wrong, used or missing.
/// `all`: with every selection of wrong parts, else single ones and all of them: in rounds nothing
/// is looked at after the first wrong one.
pub(crate) fn cases(order: Order, all: bool) -> Vec<Vec<Part>> {
    let right = vec![Part::Right; order.len()];
    let mut cases = vec![right.clone()];
    for set in 1_usize..1 << order.len() {
        let single = set.is_power_of_two();
        if !(all || single || set + 1 == 1 << order.len()) {
            continue;
        }
        let wrong = |place: usize| match set >> place & 1 {
            1 => Part::Wrong,
            _ => Part::Right,
        };
        cases.push((0..order.len()).map(wrong).collect());
    }
    for place in 0..order.len() {
        let mut case = right.clone();
        case[place] = Part::Missing;
        cases.push(case);
        if order[place] != Factor::Otp {
            continue;
        }
        for others in [Part::Right, Part::Wrong] {
            let mut case = vec![others; order.len()];
            case[place] = Part::Used;
            cases.push(case);
        }
    }
    cases.push(vec![Part::Missing; order.len()]);
    cases.push(right);
    cases
}

/// The codes that mean something now.
pub(crate) struct Codes {
    pub(crate) fresh: String,
    pub(crate) used: Option<String>,
    pub(crate) wrong: String,
}

impl Codes {
    pub(crate) fn text(&self, factor: Factor, part: Part) -> String {
        let text = match (factor, part) {
            (_, Part::Missing) => "",
            (Factor::Password, Part::Right) => PASSWORD,
            (Factor::Password, _) => WRONG_PASSWORD,
            (Factor::Pin, Part::Right) => PIN,
            (Factor::Pin, _) => WRONG_PIN,
            (_, Part::Right) => &self.fresh,
            (_, Part::Wrong) => &self.wrong,
            (_, Part::Used) => self.used.as_deref().expect("one was accepted before"),
        };
        text.to_owned()
    }

    /// What a login comes to in which these texts are presented in this form and way.
    pub(crate) fn expected(
        &self,
        order: Order,
        form: Form,
        way: Way,
        texts: &[String],
        typed: &str,
    ) -> Expected {
        let whole: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        let empty = match way {
            Way::Box { .. } => typed.is_empty(),
            _ => texts.iter().all(String::is_empty),
        };
        // Nothing typed begins the rounds.
        let opens = form != Form::Joined;
        let at_once = matches!(way, Way::Fields | Way::Box { .. });
        if opens && empty && at_once {
            return Expected {
                words: vec!["challenged"],
                consumed: false,
            };
        }
        match way {
            Way::Fields => {
                // Where more rounds may follow, what is given from the beginning is looked at.
                let given = texts.iter().take_while(|text| !text.is_empty()).count();
                let asked = match form {
                    Form::Challenge | Form::Either if given > 0 => given,
                    _ => texts.len(),
                };
                self.judge(order, &whole[..asked])
            }
            Way::FieldRounds | Way::BoxRounds { .. } => {
                let mut expected = Expected {
                    words: Vec::new(),
                    consumed: false,
                };
                for (place, text) in whole.iter().enumerate() {
                    let one = self.judge(&order[place..], &[*text]);
                    expected.words.extend(&one.words);
                    expected.consumed |= one.consumed;
                    if one.words != ["challenged"] {
                        break;
                    }
                }
                expected
            }
            Way::Box { .. } => {
                let parts = read(order, typed);
                let live = |text: &&str| *text == self.fresh || self.used.as_deref() == Some(text);
                let code = order.iter().position(|factor| *factor == Factor::Otp);
                let code = code.and_then(|place| parts.as_ref()?.get(place).copied());
                let unread = || vec![None; order.len()];
                let parts =
                    parts.map_or_else(unread, |parts| parts.into_iter().map(Some).collect());
                let all = self.judge(order, &parts);
                if order.len() > 1 && form == Form::Either && !code.as_ref().is_some_and(live) {
                    let first = self.judge(order, &[Some(typed)]);
                    let known = matches!(first.words[0], "wrong_password" | "wrong_pin");
                    // Beside what is right, a wrong code is called one.
                    return if known && all.words == ["wrong_code"] {
                        all
                    } else {
                        first
                    };
                }
                all
            }
        }
    }

    /// What one round comes to that looks at the first factors with these texts.
    fn judge(&self, order: &[Factor], texts: &[Option<&str>]) -> Expected {
        let asked = || order.iter().zip(texts);
        let one = |word, consumed| Expected {
            words: vec![word],
            consumed,
        };
        let otp = asked().find(|(factor, _)| **factor == Factor::Otp);
        let is_code =
            |text: &str| (6..=9).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        let unread = texts.contains(&None) || texts.iter().all(|text| *text == Some(""));
        if unread || otp.is_some_and(|(_, text)| !is_code(text.unwrap_or_default())) {
            return one("malformed_code", false);
        }
        let code = otp.and_then(|(_, text)| *text);
        let fresh = code == Some(self.fresh.as_str());
        for (factor, text) in asked() {
            match factor {
                Factor::Password if *text != Some(PASSWORD) => return one("wrong_password", fresh),
                Factor::Pin if *text != Some(PIN) => return one("wrong_pin", fresh),
                _ => {}
            }
        }
        if code.is_some() && !fresh {
            let used = code == self.used.as_deref();
            return one(if used { "used_code" } else { "wrong_code" }, false);
        }
        if texts.len() < order.len() {
            return one("challenged", fresh);
        }
        // An accept is called after its code, else after the last of what is known.
        let last = order.last().expect("a factor");
        match (code, last) {
            (Some(_), _) => one("hotp_ok", true),
            (None, Factor::Pin) => one("pin_ok", false),
            (None, _) => one("password_ok", false),
        }
    }
}

pub(crate) fn joined(texts: &[String], separator: &str) -> String {
    let texts: Vec<&str> = texts
        .iter()
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    texts.join(separator)
}

/// What a box holds: PIN and code have six characters each, the password has the rest; one comma
/// between two parts is none of theirs.
fn read(order: Order, typed: &str) -> Option<Vec<&str>> {
    let mut rest = typed;
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let (mut first, mut end) = (0, order.len());
    while end - first > 1 {
        if order[end - 1] == Factor::Password {
            let part;
            (part, rest) = (rest.len() > 6).then(|| rest.split_at(6))?;
            rest = rest.strip_prefix(',').unwrap_or(rest);
            front.push(part);
            first += 1;
        } else {
            let part;
            (rest, part) = rest.split_at(rest.len().checked_sub(6)?);
            rest = rest.strip_suffix(',').unwrap_or(rest);
            back.insert(0, part);
            end -= 1;
        }
    }
    front.push(rest);
    front.extend(back);
    (!rest.is_empty()).then_some(front)
}
