//! Yubico OTP: a counter under AES-128, typed by the key in letters that every keyboard layout has.
//!
//! ```text
//! text   public id, 1 to 16 modhex letters | block, 32 modhex letters
//! block  AES-128 of: private id 6 | usage 2 | timestamp 3 | session 1 | random 2 | CRC 2
//! ```
//!
//! Sources: the `YubiKey` manual, "Yubico OTP"; yubico-c (layout, CRC residue); yubikey-val (counters).
//! Numbers are little-endian. `usage` rises when the key is plugged in, `session` with each touch.
//!
//! Invariants: the pair (usage, session) is one step of 24 bits, consumed like any other: a press is good
//! once, and none before it. The public id is compared too, so that no press has a second spelling that
//! finds another token.
//!
//! A key that types on a Dvorak layout types other letters. Some texts can be read either way: both are
//! tried, and the public id tells.

use aes::cipher::{BlockCipherDecrypt as _, KeyInit as _};
use aes::{Aes128, Block};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret::{OtpKey, SecretBytes};

/// Octets of a token's key: the AES key, and the private id behind it.
pub const SECRET: usize = AES + PRIVATE;
/// Octets of the AES key.
pub const AES: usize = 16;
/// Octets of the private id.
pub const PRIVATE: usize = 6;
/// Letters of the longest public id.
pub const LONGEST_ID: usize = 16;

/// One press of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Press {
    /// How often it was plugged in.
    pub usage: u16,
    /// Which touch since then.
    pub session: u8,
    /// Ticks of 1/8 second since it was plugged in, from a random start; 24 bits.
    pub timestamp: u32,
}

impl Press {
    /// The pair (usage, session) as one number, which only rises.
    pub fn step(self) -> u64 {
        u64::from(self.usage) << 8 | u64::from(self.session)
    }

    /// The usage counter and the session use of a step.
    pub fn of_step(step: u64) -> Option<(u16, u8)> {
        let [session, ..] = step.to_le_bytes();
        Some((u16::try_from(step >> 8).ok()?, session))
    }
}

/// Whether a text has the form of an OTP: 33 to 48 letters of modhex, in any case, or of the same typed on
/// a Dvorak layout.
pub fn is_otp(text: &str) -> bool {
    readings(text).next().is_some()
}

/// The public ids that a text can name, in modhex.
pub fn public_ids(text: &str) -> impl Iterator<Item = String> {
    readings(text).filter_map(|reading| {
        let (id, _) = reading.split_at_checked(reading.len().checked_sub(BLOCK)?)?;
        Some(id.to_owned())
    })
}

/// Whether a text is a public id: 1 to 16 letters of modhex, in any case.
pub fn is_public_id(text: &str) -> bool {
    let modhex = |octet: u8| MODHEX.contains(&octet.to_ascii_lowercase());
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(modhex)
}

/// What the key with this public id says in an OTP; `None`: it did not make it.
pub fn open(secret: &OtpKey, public_id: &str, text: &str) -> Option<Press> {
    let (key, private) = secret.expose().split_first_chunk::<AES>()?;
    let cipher = Aes128::new(key.into());
    let mut found = None;
    for reading in readings(text) {
        let at = reading.len().checked_sub(BLOCK)?;
        let (id, block) = reading.split_at_checked(at)?;
        if id.eq_ignore_ascii_case(public_id)
            && let Some(press) = decrypt(&cipher, private, block)
        {
            found = Some(press);
        }
    }
    found
}

/// Random octets as a public id: `vv`, which Yubico's own keys do not have, and ten letters.
pub fn new_public_id(random: [u8; 5]) -> String {
    let letter = |nibble: u8| MODHEX.get(usize::from(nibble)).copied().map(char::from);
    let letters = random
        .iter()
        .flat_map(|octet| [letter(octet >> 4), letter(octet & 15)]);
    ["v", "v"]
        .into_iter()
        .map(str::to_owned)
        .chain(letters.flatten().map(String::from))
        .collect()
}

/// The AES key and the private id as one key; both in hexadecimal digits.
///
/// # Errors
/// Which of them is wrong, without its content.
pub fn secret(key: &str, private_id: Option<&str>) -> Result<SecretBytes, &'static str> {
    let hex = |text: &str| data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes());
    let mut key = Zeroizing::new(hex(key).map_err(|_| KEY)?);
    if let Some(private_id) = private_id {
        let private_id = Zeroizing::new(hex(private_id).map_err(|_| PRIVATE_ID)?);
        if key.len() != AES {
            return Err(KEY);
        }
        if private_id.len() != PRIVATE {
            return Err(PRIVATE_ID);
        }
        // Allocated once: a buffer that grows leaves copies of the key behind.
        let mut both = Vec::with_capacity(SECRET);
        both.extend_from_slice(&key);
        both.extend_from_slice(&private_id);
        return Ok(SecretBytes::new(both));
    }
    match key.len() {
        SECRET => Ok(SecretBytes::new(std::mem::take(&mut *key))),
        AES => Err(NO_PRIVATE_ID),
        _ => Err(KEY),
    }
}

/// The text in modhex: as it stands, and as typed on a Dvorak layout.
fn readings(text: &str) -> impl Iterator<Item = Zeroizing<String>> {
    let fits = (BLOCK + 1..=BLOCK + LONGEST_ID).contains(&text.len());
    let alphabets = [MODHEX, DVORAK].into_iter().filter(move |_| fits);
    alphabets.filter_map(move |alphabet| {
        let mut reading = Zeroizing::new(String::with_capacity(text.len()));
        for octet in text.bytes() {
            let octet = octet.to_ascii_lowercase();
            let value = alphabet.iter().position(|known| *known == octet)?;
            reading.push(char::from(*MODHEX.get(value)?));
        }
        Some(reading)
    })
}

fn decrypt(cipher: &Aes128, private: &[u8], block: &str) -> Option<Press> {
    let mut octets = Block::default();
    for (octet, pair) in octets.iter_mut().zip(block.as_bytes().chunks_exact(2)) {
        let value = |letter: &u8| MODHEX.iter().position(|known| known == letter);
        let [high, low] = pair else { return None };
        *octet = u8::try_from(value(high)? << 4 | value(low)?).ok()?;
    }
    cipher.decrypt_block(&mut octets);
    let plain = Zeroizing::new(<[u8; 16]>::from(octets));
    octets.as_mut_slice().zeroize();
    let [p0, p1, p2, p3, p4, p5, u0, u1, t0, t1, t2, session, ..] = *plain;
    let own = [p0, p1, p2, p3, p4, p5].as_slice().ct_eq(private);
    let whole = crc(&*plain).ct_eq(&RESIDUE);
    bool::from(own & whole).then(|| Press {
        usage: u16::from_le_bytes([u0, u1]),
        session,
        timestamp: u32::from_le_bytes([t0, t1, t2, 0]),
    })
}

/// CRC-16 of ISO 13239, reflected, without the final inversion.
fn crc(octets: &[u8]) -> u16 {
    octets.iter().fold(0xffff, |crc, octet| {
        (0..8).fold(crc ^ u16::from(*octet), |crc: u16, _| {
            (crc >> 1) ^ (0x8408 & (crc & 1).wrapping_neg())
        })
    })
}

const MODHEX: &[u8; 16] = b"cbdefghijklnrtuv";
/// What the keys of [`MODHEX`] type on a Dvorak layout.
const DVORAK: &[u8; 16] = b"jxe.uidchtnbpygk";
/// Letters of a block.
pub const BLOCK: usize = 32;
/// The CRC of a block with its CRC.
const RESIDUE: u16 = 0xf0b8;

const KEY: &str = "secret: the AES key of a yubikey has 32 hexadecimal digits";
const PRIVATE_ID: &str = "private_id: 12 hexadecimal digits";
const NO_PRIVATE_ID: &str = "private_id: missing; give it, 12 hexadecimal digits, or 44 digits as the secret: the AES key and behind \
     it the private id";

#[cfg(test)]
mod tests {
    use aes::cipher::BlockCipherEncrypt as _;
    use proptest::prelude::*;

    use super::*;

    fn key(hex: &str) -> OtpKey {
        OtpKey::new(secret(hex, None).unwrap()).unwrap()
    }

    /// Another implementation of the key itself: what it types.
    fn typed(secret: &OtpKey, id: &str, press: Press, alphabet: &[u8; 16]) -> String {
        let (aes, private) = secret.expose().split_at(AES);
        let mut plain = private.to_vec();
        plain.extend(press.usage.to_le_bytes());
        plain.extend(&press.timestamp.to_le_bytes()[..3]);
        plain.extend([press.session, 0x5a, 0xa5]);
        let sum = !crc(&plain);
        plain.extend(sum.to_le_bytes());
        let mut block = Block::try_from(&plain[..]).unwrap();
        Aes128::new_from_slice(aes)
            .unwrap()
            .encrypt_block(&mut block);
        let id = id.bytes().map(|letter| {
            let value = MODHEX.iter().position(|known| *known == letter);
            alphabet[value.unwrap()]
        });
        let nibbles = block.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        let block = nibbles.map(|nibble| alphabet[usize::from(nibble)]);
        id.chain(block).map(char::from).collect()
    }

    /// yubico-c, README and `tests/selftest.c`; the second of the `YubiKey` manual's CRC.
    #[test]
    fn published_vectors() {
        let secret = key("ecde18dbe76fbd0c33330f1c354871db8792ebfe26cc");
        let otp = "dteffujehknhfjbrjnlnldnhcujvddbikngjrtgh";
        let press = Press {
            usage: 19,
            session: 17,
            timestamp: 0xc230,
        };
        assert_eq!(open(&secret, "dteffuje", otp), Some(press));
        assert_eq!(press.step(), 19 * 256 + 17);
        assert_eq!(Press::of_step(press.step()), Some((19, 17)));
        assert_eq!(public_ids(otp).next().as_deref(), Some("dteffuje"));
        assert_eq!(crc(b"123456789"), 0x6f91);
    }

    #[test]
    fn what_another_key_made_is_not_opened() {
        let secret = key("000102030405060708090a0b0c0d0e0f010203040506");
        let press = Press {
            usage: 5,
            session: 3,
            timestamp: 7,
        };
        let otp = typed(&secret, "cccccccccccb", press, MODHEX);
        assert_eq!(open(&secret, "CCCCCCCCCCCB", &otp), Some(press));
        assert_eq!(
            open(&secret, "cccccccccccb", &otp.to_uppercase()),
            Some(press)
        );
        assert_eq!(
            open(&secret, "cccccccccccd", &otp),
            None,
            "another public id"
        );
        assert_eq!(open(&secret, "ccccccccccc", &otp), None, "a shorter one");
        for (aes, private) in [
            ("000102030405060708090a0b0c0d0e0f", "010203040507"),
            ("000102030405060708090a0b0c0d0e0e", "010203040506"),
        ] {
            let other = key(&format!("{aes}{private}"));
            assert_eq!(open(&other, "cccccccccccb", &otp), None);
        }
    }

    #[test]
    fn what_is_no_otp_has_no_form_of_one() {
        let block = "hknhfjbrjnlnldnhcujvddbikngjrtgh";
        for text in [
            String::new(),
            block.to_owned(),
            format!("a{block}"),
            format!("c {block}"),
            format!(" c{block}"),
            format!("c{block}\n"),
            format!("{}{block}", "c".repeat(17)),
            format!("\u{ff43}{block}"),
            "0".repeat(44),
            "755224".to_owned(),
        ] {
            assert!(!is_otp(&text), "{text:?}");
        }
        assert!(is_otp(&format!("c{block}")) && is_otp(&format!("{}{block}", "c".repeat(16))));
    }

    #[test]
    fn keys_and_ids_are_read_strictly() {
        let aes = "000102030405060708090A0B0C0D0E0F";
        assert_eq!(
            secret(aes, Some("010203040506")).unwrap().expose().len(),
            SECRET
        );
        for (key, private_id, what) in [
            (aes, None, "private_id: missing"),
            (aes, Some("0102030405"), "private_id: 12"),
            (aes, Some("x10203040506"), "private_id: 12"),
            ("0001", Some("010203040506"), "secret:"),
            ("GEZDGNBV", None, "secret:"),
            ("", None, "secret:"),
        ] {
            assert!(
                secret(key, private_id).unwrap_err().starts_with(what),
                "{what}"
            );
        }
        for id in ["c", "CCCCCCCCCCCB", "vvvvvvvvvvvvvvvv"] {
            assert!(is_public_id(id), "{id}");
        }
        for id in ["", "a", "0", "ccccccccccccccccc", "c c", "\u{ff43}"] {
            assert!(!is_public_id(id), "{id}");
        }
        assert!(is_public_id(&new_public_id([0, 1, 0x7f, 0xfe, 0xff])));
        assert_eq!(new_public_id([0, 1, 0x7f, 0xfe, 0xff]), "vvcccbivvuvv");
    }

    proptest! {
        /// On either layout and in any case, and with nothing else than what was typed.
        #[test]
        fn opens_what_a_key_types(
            octets in any::<[u8; SECRET]>(), id in "[cbdefghijklnrtuv]{1,16}",
            usage in any::<u16>(), session in any::<u8>(), timestamp in 0_u32..1 << 24,
            upper in any::<bool>(), dvorak in any::<bool>(), at in 0_usize..32,
        ) {
            let secret = OtpKey::new(SecretBytes::from(&octets[..])).unwrap();
            let press = Press { usage, session, timestamp };
            let alphabet = if dvorak { DVORAK } else { MODHEX };
            let mut otp = typed(&secret, &id, press, alphabet);
            if upper {
                otp = otp.to_uppercase();
            }
            prop_assert!(is_otp(&otp));
            prop_assert_eq!(open(&secret, &id, &otp), Some(press));
            let mut other = typed(&secret, &id, press, MODHEX).into_bytes();
            let letter = &mut other[id.len() + at];
            *letter = if *letter == b'c' { b'b' } else { b'c' };
            let other = String::from_utf8(other).unwrap();
            prop_assert_eq!(open(&secret, &id, &other), None);
        }

        #[test]
        fn any_text_is_read(text in any::<String>(), id in "\\PC{0,20}") {
            let secret = key("000102030405060708090a0b0c0d0e0f010203040506");
            prop_assert_eq!(open(&secret, &id, &text), None);
            let _ = (is_otp(&text), is_public_id(&id), public_ids(&text).count());
        }
    }
}
