//! Users, tokens, imports, directories, enrolment.

mod aliases;
mod all_token_files;
mod binds;
mod enrol_links;
pub(crate) mod enrolment;
mod enrolment_kinds;
mod first_use;
mod followed;
mod import;
mod notes;
mod people;
mod samba;
mod sources;
mod stock;
mod tables;
mod token_files;
