//! Countries, and whether a user is abroad.
//!
//! Threat: a misspelt or unassigned home country would make every user at home a traveller, whom an
//! exemption asks for less. So only assigned codes are read, and an address of no assigned country
//! (anonymous proxies, satellite networks, `EU`) is never abroad.

use std::fmt;
use std::str::FromStr;

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Country(&'static str);

/// `[exemption]`: from where an overseas exemption counts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exemption {
    /// Countries in which no user is exempt; empty: no user is exempt anywhere.
    pub home: Vec<Country>,
}

impl Exemption {
    /// Whether a country (of the person's address, `None`: unknown) is known to be abroad.
    pub fn abroad(&self, country: Option<&str>) -> bool {
        let country = country.and_then(|code| code.parse::<Country>().ok());
        country.is_some_and(|country| !self.home.is_empty() && !self.home.contains(&country))
    }
}

impl Country {
    /// The code, upper case.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Country {
    type Err = String;

    /// Reads an assigned code in upper case. The error says what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut codes = CODES.split_ascii_whitespace();
        let near = codes.find(|code| code.eq_ignore_ascii_case(text));
        match near {
            Some(code) if code == text => Ok(Self(code)),
            Some(code) => Err(format!("`{text}` is not a country: write `{code}`")),
            None => Err(format!(
                "`{text}` is not a country: write two capital letters of ISO 3166, as KR"
            )),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// The officially assigned codes.
const CODES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW \
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV \
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM \
    ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assigned_codes_are_countries() {
        assert_eq!(CODES.split_ascii_whitespace().count(), 249);
        assert_eq!("KR".parse().map(Country::as_str), Ok("KR"));
        let error = |text: &str| text.parse::<Country>().unwrap_err();
        assert_eq!(error("kr"), "`kr` is not a country: write `KR`");
        for bad in ["", "K", "RK", "KOR", "UK", "EU", "A1", "--", "KR "] {
            assert!(error(bad).contains("two capital letters"), "{bad}");
        }
    }

    #[test]
    fn only_a_known_other_country_is_abroad() {
        let exemption = Exemption {
            home: vec!["KR".parse().unwrap()],
        };
        assert!(exemption.abroad(Some("JP")));
        for country in [
            None,
            Some("KR"),
            Some("kr"),
            Some(""),
            Some("ZZ"),
            Some("EU"),
        ] {
            assert!(!exemption.abroad(country), "{country:?}");
        }
        assert!(!Exemption::default().abroad(Some("JP")));
    }
}
