//! The domain's nouns: values that cannot be built wrong. No storage form, no protocol.

pub mod user_key;
