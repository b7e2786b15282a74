//! The console, self-service and the authenticator of telephones.

pub(crate) mod browser_app;
mod browser_console;
mod console;
mod console_import;
mod console_lists;
mod console_people;
mod cost;
mod hostile;
mod korean;
mod matrix;
mod me;
mod policy_drafts;
pub(crate) mod self_service;
mod sign_in_limits;
mod slow_forms;
mod stock;
