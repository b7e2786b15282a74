//! argon2id version 1.3 (RFC 9106): cost, memory, and the PHC text.
//!
//! ```text
//! $argon2id$v=19$m=19456,t=2,p=1$SALT$TAG        base64 without padding
//! ```
//!
//! The order of the parameters is that of the reference implementation; `keyid` and `data` are
//! refused, since they say that something else than the password went in.

use std::{fmt, hint};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64ct::{Base64Unpadded, Encoding as _};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, Zeroizing};

use crate::credential::scheme::{ImportError, Scheme, number};
use crate::secret::{Key256, SecretBytes};

/// What hashing costs: this much for us per attempt, this much for a thief per guess.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// OWASP's first choice: 19 MiB, two passes, one lane; some 15 ms.
    pub const DEFAULT: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };

    /// Most memory, in KiB.
    pub const MAX_MEMORY_KIB: u32 = 256 * 1024;
    /// Most passes over the memory.
    pub const MAX_PASSES: u32 = 64;
    /// Most lanes; we compute them one after the other.
    pub const MAX_LANES: u32 = 16;
    /// Most memory times passes, in KiB: below a second on one core.
    pub const MAX_WORK: u32 = 1024 * 1024;

    #[cfg(test)]
    pub(super) const QUICK: Self = Self {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    /// A cost for new hashes: memory in KiB, passes, lanes. Refused when it is weaker than every
    /// setting that OWASP names, or more than one attempt may take.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, InvalidCost> {
        let cost = Self::bounded(memory_kib, passes, lanes)?;
        let strong = |&(memory, times): &(u32, u32)| memory_kib >= memory && passes >= times;
        OWASP
            .iter()
            .any(strong)
            .then_some(cost)
            .ok_or(InvalidCost::Weak)
    }

    /// A cost that argon2 can compute and one attempt may take, however weak.
    fn bounded(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, InvalidCost> {
        if lanes == 0 || passes == 0 || memory_kib / 8 < lanes {
            return Err(InvalidCost::Impossible);
        }
        // All three are below 2^19: no overflow.
        let bounded = lanes <= Self::MAX_LANES
            && memory_kib <= Self::MAX_MEMORY_KIB
            && passes <= Self::MAX_PASSES
            && memory_kib * passes <= Self::MAX_WORK;
        bounded
            .then_some(Self {
                memory_kib,
                passes,
                lanes,
            })
            .ok_or(InvalidCost::Excessive)
    }

    /// Memory in KiB.
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub const fn lanes(self) -> u32 {
        self.lanes
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a cost cannot be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidCost {
    /// Above what one attempt may take.
    #[error(
        "too much work for one attempt: at most 262144 KiB, 64 passes and 16 lanes, and \
         memory times passes at most 1048576"
    )]
    Excessive,
    /// Not argon2 at all.
    #[error("not possible: at least one pass, one lane, and 8 KiB in each lane")]
    Impossible,
    /// Below every OWASP setting.
    #[error(
        "too weak: use at least 47104 KiB with 1 pass, 19456 with 2, 12288 with 3, 9216 with 4 \
         or 7168 with 5"
    )]
    Weak,
}

/// The memory that argon2 works in, kept between hashes: fresh pages cost a third of the time.
///
/// Holds what passwords left behind; never shown, overwritten on drop. Keeps at most 64 MiB.
#[derive(Default)]
pub struct Scratch(Zeroizing<Vec<Block>>);

impl Scratch {
    /// Empty; the first use takes the memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// At least so many blocks of 1 KiB.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            // Wiped and replaced, not grown: growing leaves copies behind.
            self.0 = Zeroizing::new(vec![Block::new(); count]);
        }
        &mut self.0
    }

    /// Overwrites what passwords left, and keeps the memory.
    pub fn wipe(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }

    #[cfg(test)]
    pub(crate) fn is_wiped(&self) -> bool {
        let mut words = self.0.iter().flat_map(<Block as AsRef<[u64]>>::as_ref);
        words.all(|word: &u64| *word == 0)
    }

    /// One costly imported hash must not hold its memory forever.
    fn trim(&mut self) {
        if self.0.len() > KEPT_BLOCKS {
            self.0 = Zeroizing::default();
        }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The work of one verification without a user: without it, a user who does not exist, or has no
/// password, shows in the time that the answer takes.
pub fn spend(cost: Cost, scratch: &mut Scratch) {
    let mut tag = [0; TAG];
    derive(
        &mut tag,
        b"no user",
        &[0; 16],
        Some(&NO_PEPPER),
        cost,
        scratch,
    );
    hint::black_box(tag);
}

/// The parts of the PHC text. Whether a pepper went in, the text does not say: see `Hash`.
#[derive(Clone, Debug)]
pub(super) struct Phc {
    cost: Cost,
    salt: Vec<u8>,
    tag: SecretBytes,
}

impl Phc {
    /// Hashes a password.
    pub(super) fn make(
        password: &[u8],
        pepper: &Key256,
        salt: [u8; 16],
        cost: Cost,
        scratch: &mut Scratch,
    ) -> Self {
        let mut tag = Zeroizing::new([0; TAG]);
        derive(&mut *tag, password, &salt, Some(pepper), cost, scratch);
        Self {
            cost,
            salt: salt.to_vec(),
            tag: SecretBytes::from(&tag[..]),
        }
    }

    /// Reads the text; every bound that `derive` relies on is checked here.
    pub(super) fn parse(text: &str) -> Result<Self, ImportError> {
        let parts: Vec<&str> = text.split('$').collect();
        let ["", "argon2id", "v=19", parameters, salt, tag] = parts.as_slice() else {
            return Err(DAMAGED);
        };
        let (salt, tag) = (decode(salt)?, SecretBytes::new(decode(tag)?));
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&tag.expose().len()) {
            return Err(DAMAGED);
        }
        let values: Vec<&str> = parameters.split(',').collect();
        let [memory, passes, lanes] = values.as_slice() else {
            return Err(DAMAGED);
        };
        let value = |text: &str, name| text.strip_prefix(name).and_then(number).ok_or(DAMAGED);
        let cost = Cost::bounded(
            value(memory, "m=")?,
            value(passes, "t=")?,
            value(lanes, "p=")?,
        );
        let cost = cost.map_err(|why| match why {
            InvalidCost::Excessive => ImportError::Costly(Scheme::Argon2id),
            InvalidCost::Impossible | InvalidCost::Weak => DAMAGED,
        });
        Ok(Self {
            cost: cost?,
            salt,
            tag,
        })
    }

    /// The cost it was made with.
    pub(super) const fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether this password, with this pepper or none, made the tag.
    pub(super) fn matches(
        &self,
        password: &[u8],
        pepper: Option<&Key256>,
        scratch: &mut Scratch,
    ) -> bool {
        let mut tag = Zeroizing::new(vec![0; self.tag.expose().len()]);
        derive(&mut tag, password, &self.salt, pepper, self.cost, scratch);
        tag.ct_eq(self.tag.expose()).into()
    }

    /// The text that [`Phc::parse`] reads.
    pub(super) fn encode(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            self.cost.memory_kib,
            self.cost.passes,
            self.cost.lanes,
            Base64Unpadded::encode_string(&self.salt),
            Base64Unpadded::encode_string(self.tag.expose())
        )
    }
}

/// Fills `tag`: argon2id 1.3 of the password with the pepper as K (RFC 9106 s3.1).
#[expect(
    clippy::expect_used,
    reason = "a hash that could fail quietly would be a constant that every password matches"
)]
fn derive(
    tag: &mut [u8],
    password: &[u8],
    salt: &[u8],
    pepper: Option<&Key256>,
    cost: Cost,
    scratch: &mut Scratch,
) {
    let secret = pepper.map_or(&[][..], |pepper| pepper.expose());
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(tag.len()))
        .expect("a cost lies within argon2's bounds, a tag has 16 to 64 octets");
    let blocks = scratch.blocks(params.block_count());
    Argon2::new_with_secret(secret, Algorithm::Argon2id, Version::V0x13, params)
        .expect("a pepper has 32 octets")
        .hash_password_into_with_memory(password, salt, tag, blocks)
        .expect("a salt has at least 8 octets, a password fewer than 2^32, the blocks suffice");
    scratch.trim();
}

fn decode(text: &str) -> Result<Vec<u8>, ImportError> {
    Base64Unpadded::decode_vec(text).map_err(|_| DAMAGED)
}

const DAMAGED: ImportError = ImportError::Damaged(Scheme::Argon2id);

/// Octets of the tags made here.
const TAG: usize = 32;

/// Blocks of 1 KiB that a [`Scratch`] keeps.
const KEPT_BLOCKS: usize = 64 * 1024;

/// Settings of equal strength: memory in KiB, passes (OWASP Password Storage Cheat Sheet).
const OWASP: [(u32, u32); 5] = [
    (47_104, 1),
    (19_456, 2),
    (12_288, 3),
    (9_216, 4),
    (7_168, 5),
];

/// A pepper without a user: one takes part, so that the work is the same to the block.
static NO_PEPPER: Key256 = Key256::new([0; 32]);
