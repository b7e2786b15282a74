//! Whose yubikey typed an OTP: for clients that do not say who the user is.

use crate::core::CoreError;
use crate::login::Login;
use crate::model::kind::Kind;
use crate::model::user_key::UserKey;
use crate::otp::yubikey::{self, Press};

/// The yubikey that an OTP names.
#[derive(Clone, Debug)]
pub struct Pressed {
    /// Its owner.
    pub user: UserKey,
    /// What the key says; `None`: it did not make this OTP.
    pub press: Option<Press>,
}

impl Login {
    /// The yubikey whose public id an OTP names; `None`: there is none, or it is in stock.
    pub fn pressed(&self, otp: &str) -> Result<Option<Pressed>, CoreError> {
        let mut named = None;
        // Two public ids where the text can be read on two layouts: the key that made it counts.
        for id in yubikey::public_ids(otp) {
            let Ok(serial) = id.parse() else { continue };
            let Some((token, _)) = self.core.store.token(&serial)? else {
                continue;
            };
            if token.kind != Kind::Yubikey || token.user.is_stock() {
                continue;
            }
            let press = yubikey::open(&token.key, &id, otp);
            let pressed = Pressed {
                user: token.user,
                press,
            };
            if press.is_some() {
                return Ok(Some(pressed));
            }
            named = named.or(Some(pressed));
        }
        Ok(named)
    }
}
