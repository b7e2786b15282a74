//! A place in the chain of records.

/// The end of the chain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    /// Number of the last record; 0 when there is none.
    pub(crate) seq: u64,
    /// Its MAC; zeros when there is none.
    pub(crate) mac: [u8; 32],
}
