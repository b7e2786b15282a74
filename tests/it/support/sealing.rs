//! Keys and nonces of our choice for the ciphers that seal secrets.

use oncegate::secret::{Entropy, EntropyError, Key256};
use oncegate::store::seal::cipher::Keys;
use zeroize::Zeroizing;

/// The nonce that is drawn.
pub(crate) struct Fixed(pub(crate) Vec<u8>);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.copy_from_slice(&self.0);
        Ok(())
    }
}

/// This key for everything, its first half for SEED.
pub(crate) fn keys(key: [u8; 32]) -> Keys {
    let (seed, _) = key.split_first_chunk::<16>().expect("half of it");
    Keys {
        aes: Key256::new(key),
        aria: Key256::new(key),
        seed: Zeroizing::new(*seed),
        seed_mac: Key256::new(key),
    }
}
