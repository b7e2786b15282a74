//! Objects whose keys are the sender's own.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The entries of an object. A key that is there twice is refused: no one knows which of its values is meant.
pub(crate) struct Entries<T>(pub(crate) BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Each(PhantomData))
    }
}

/// Reads the entries; `null` is read as if the field were absent.
pub(crate) fn entries<'de, T, D>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let read = Option::<Entries<T>>::deserialize(deserializer)?;
    Ok(read.map(|Entries(entries)| entries).unwrap_or_default())
}

/// Reads one entry after the other.
struct Each<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
    type Value = Entries<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if entries.insert(name, value).is_some() {
                // Its name is the sender's, and may be a secret in the wrong place.
                return Err(A::Error::custom("duplicate field in an object"));
            }
        }
        Ok(Entries(entries))
    }
}
