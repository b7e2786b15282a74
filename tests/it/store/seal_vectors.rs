//! The standards' own examples of the ciphers that seal secrets at rest.

use aria::cipher::{BlockCipherEncrypt, KeyInit};
use aria::{Aria128, Aria192, Aria256};
use oncegate::model::sealing::SealAlgorithm;
use oncegate::store::seal::cipher::Ciphers;
use oncegate::store::seal::seed::Seed;

use crate::support::sealing::{Fixed, keys};
use crate::support::vectors;

fn octets<const N: usize>(text: &str) -> [u8; N] {
    vectors::hex(text).try_into().expect("the right length")
}

#[test]
fn rfc4269_appendix_b() {
    let rows = vectors::load::<3>("rfc4269-b.txt", "seed-block");
    assert_eq!(rows.len(), 4);
    for [key, plain, expected] in rows {
        let encrypted = Seed::new(&octets(&key)).encrypt(&octets(&plain));
        assert_eq!(encrypted, octets(&expected), "{key}");
    }
}

/// The crate's work; here so that an update that breaks it is seen.
#[test]
fn rfc5794_appendix_a() {
    fn encrypt<C: BlockCipherEncrypt + KeyInit>(key: &[u8], plain: &str) -> Vec<u8> {
        let cipher = C::new_from_slice(key).expect("the right length");
        let mut block = aria::cipher::Block::<C>::default();
        block.copy_from_slice(&vectors::hex(plain));
        cipher.encrypt_block(&mut block);
        block.to_vec()
    }
    let rows = vectors::load::<3>("rfc5794-a.txt", "aria-block");
    assert_eq!(rows.len(), 3);
    for [key, plain, expected] in rows {
        let key = vectors::hex(&key);
        let encrypted = match key.len() {
            16 => encrypt::<Aria128>(&key, &plain),
            24 => encrypt::<Aria192>(&key, &plain),
            _ => encrypt::<Aria256>(&key, &plain),
        };
        assert_eq!(encrypted, vectors::hex(&expected));
    }
}

#[test]
fn rfc8269_appendix_a() {
    let rows = vectors::load::<5>("rfc8269-a.txt", "aria-256-gcm");
    for [key, nonce, associated, plain, expected] in rows {
        let ciphers = Ciphers::new(&keys(octets(&key)));
        let (nonce, associated) = (vectors::hex(&nonce), vectors::hex(&associated));
        let (plain, expected) = (vectors::hex(&plain), vectors::hex(&expected));
        let sealed = ciphers
            .seal(
                SealAlgorithm::Aria256Gcm,
                &associated,
                &plain,
                &Fixed(nonce.clone()),
            )
            .expect("short");
        assert_eq!(sealed, [&[2], &nonce[..], &expected].concat());
        let opened = ciphers
            .open(&associated, &sealed)
            .expect("as it was sealed");
        assert_eq!(opened.expose(), plain);
    }
}
