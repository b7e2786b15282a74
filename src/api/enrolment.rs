//! Rights to approve that are lent, and outage mode.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::Waiver;
use crate::api::call::{APPROVER, Access, LOOK, OPERATOR, calls};
use crate::model::client::Scope;

calls! {
    /// Rights to approve that are lent, ended ones too.
    ListDelegations = list_delegations: GET "/v1/admin/delegations" in "delegations"
        for Access::Admin(&[Scope::Approver, Scope::Auditor]),
        200 "All of them": Delegations;

    /// Lends a right to approve. Approvers lend their own, administrators any.
    AddDelegation = lend_approval: POST "/v1/admin/delegations" in "delegations" for APPROVER,
        body DelegationCreate,
        201 "Lent": Delegation;

    /// Takes a lent right back.
    RemoveDelegation = take_back_approval: DELETE "/v1/admin/delegations" in "delegations" for APPROVER,
        query DelegationName,
        204 "Taken back": ();

    /// The outage that was declared last.
    ShowOutage = show_outage: GET "/v1/admin/outage" in "outage" for LOOK,
        200 "What was declared last": Outage;

    /// Declares an outage: until it ends, what policies name under `outage` is accepted as well.
    DeclareOutage = declare_outage: PUT "/v1/admin/outage" in "outage" for OPERATOR,
        body OutageDeclare,
        200 "Declared": Outage;

    /// Ends the outage before its time.
    EndOutage = end_outage: DELETE "/v1/admin/outage" in "outage" for OPERATOR,
        204 "Ended": ();
}

/// A right to approve that is to be lent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DelegationCreate {
    /// Whose right: `api:NAME`, `uid N`; the caller's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// To whom: `api:NAME`, `uid N`.
    pub to: String,
    /// Until when (RFC 3339), at most 366 days from now.
    pub until: String,
    /// Why: the audit has it.
    pub reason: String,
}

/// A right to approve that is lent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Delegation {
    /// Whose.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Until when; it ends by itself.
    pub until: String,
    /// Why.
    pub reason: String,
    /// Whether it holds now.
    pub holds: bool,
    /// The policies that ask for approvals today; empty: none. Where it was just lent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Vec<String>>,
}

/// Which delegation.
#[derive(Clone, Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DelegationName {
    /// Whose right.
    pub from: String,
    /// To whom it was lent.
    pub to: String,
}

/// Rights to approve that are lent, ended ones too.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Delegations {
    /// In order of whose and to whom.
    pub delegations: Vec<Delegation>,
}

/// An outage to be declared.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutageDeclare {
    /// How long, in seconds: a minute to a day. It ends by itself.
    pub for_secs: u64,
    /// Why: the audit has it.
    pub reason: String,
}

/// Outage mode.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Outage {
    /// What was declared last, whether or not it has ended; `null` when nothing was, or when it was
    /// ended before its time.
    pub outage: Option<Waiver>,
}
