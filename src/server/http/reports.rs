//! Reports of the store as the API shows them; its records are in [`crate::api::forms`].

use crate::api;
use crate::store::{ChainReport, StoreReport};

pub(crate) fn chain(report: ChainReport) -> api::AuditChain {
    api::AuditChain {
        first: report.first,
        intact: report.fault.is_none(),
        good: report.good,
        first_bad: report.fault.as_ref().map(|fault| fault.seq),
        fault: report.fault.map(|fault| fault.what.to_owned()),
    }
}

pub(crate) fn store(report: StoreReport) -> api::StoreCheck {
    api::StoreCheck {
        intact: report.damaged == 0 && report.unproven.is_empty() && report.chain.fault.is_none(),
        rows: report.rows,
        damaged: report.damaged,
        damage: report.damage.iter().map(ToString::to_string).collect(),
        unproven: report.unproven.into_iter().map(str::to_owned).collect(),
        journal: Some(chain(report.chain)),
        checksums: None,
    }
}
