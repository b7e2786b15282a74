//! The domain's nouns: values that cannot be built wrong. No storage form, no protocol.

pub mod attempt;
pub mod audit;
pub mod client;
pub mod clock;
pub mod credential;
pub mod device;
pub mod enrolment;
pub mod group;
pub mod id;
pub mod issue;
pub mod issued;
pub mod kind;
pub mod life_cycle;
pub mod message;
pub mod method;
pub mod name_rule;
pub mod profile;
pub mod reason;
pub mod sealing;
pub mod session;
pub mod settle;
pub mod source;
pub mod token;
pub mod user;
pub mod user_key;
pub mod user_state;
