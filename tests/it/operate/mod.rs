//! Backups, keys, the package, the audit at other places.

mod audit_ship;
mod backup;
mod backup_keys;
mod backup_rollback;
mod drills;
mod hsm;
mod keys;
mod packaging;
mod setup;
