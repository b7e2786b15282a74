//! What a yubikey types.

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128, Block};
use serde_json::{Value, json};

use crate::support::lab::Lab;

/// A slot with the Yubico OTP.
pub(crate) struct Key {
    pub(crate) public: &'static str,
    pub(crate) private: &'static str,
    pub(crate) aes: &'static str,
}

impl Key {
    /// The one of `tests/imports/yubico-traditional.csv`.
    pub(crate) const fn of_the_files() -> Self {
        Self {
            public: "cccccccccccb",
            private: "010203040506",
            aes: "000102030405060708090a0b0c0d0e0f",
        }
    }

    /// As a token of a user, in use at once.
    pub(crate) fn token(&self, user: &str) -> Value {
        json!({ "user": user, "kind": "yubikey", "active": true, "secret": self.aes,
                "public_id": self.public, "private_id": self.private })
    }

    /// Gives it to a new user, who touches it once.
    pub(crate) async fn logs_in(&self, lab: &Lab, policy: &str, user: &str) {
        lab.same_user(user, "first").await;
        lab.change("POST", "/v1/admin/tokens", self.token(user))
            .await;
        lab.radius(policy, user, &self.types(1, 1), None, None)
            .await;
    }

    /// One touch.
    pub(crate) fn types(&self, usage: u16, session: u8) -> String {
        let mut plain = data_encoding::HEXLOWER
            .decode(self.private.as_bytes())
            .unwrap();
        let time = u32::from(usage) * 1000 + u32::from(session);
        plain.extend(usage.to_le_bytes());
        plain.extend(&time.to_le_bytes()[..3]);
        plain.extend([session, 0x5a, 0xa5]);
        let mut crc = 0xffff_u16;
        for octet in &plain {
            crc ^= u16::from(*octet);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0x8408
                } else {
                    crc >> 1
                };
            }
        }
        plain.extend((!crc).to_le_bytes());
        let aes = data_encoding::HEXLOWER.decode(self.aes.as_bytes()).unwrap();
        let mut block = Block::try_from(&plain[..]).unwrap();
        let cipher = Aes128::new_from_slice(&aes).unwrap();
        cipher.encrypt_block(&mut block);
        let letters = block.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        let letters = letters.map(|nibble| char::from(b"cbdefghijklnrtuv"[usize::from(nibble)]));
        self.public.chars().chain(letters).collect()
    }
}

/// The same touch on a Dvorak layout.
pub(crate) fn dvorak(otp: &str) -> String {
    let place = |letter| "cbdefghijklnrtuv".find(letter).unwrap();
    let letters = otp
        .chars()
        .map(|letter| char::from(b"jxe.uidchtnbpygk"[place(letter)]));
    letters.collect()
}
