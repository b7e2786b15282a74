//! `POST /v1/enrolments`: users who enrol tokens themselves.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{Access, TokenSerial, calls};
use crate::api::verify::client_ip;
use crate::api::{Answered, Offered, Token, in_clear, unless_null};
use crate::secret::SecretString;

calls! {
    /// A user proves what the policy asks for, and asks for a token.
    ///
    /// A proof that is not right is answered as a rejected verification.
    AskForToken = ask_for_token: POST "/v1/enrolments" in "enrolments" for Access::Verify,
        query Answered, body EnrolmentRequest,
        200 "Made or asked for, or rejected": EnrolmentAnswer,
        yes |answer| matches!(answer, EnrolmentAnswer::Accept { .. })
        => by_status("rejected")
        => fails(&[
            (403, "Key without the scope or for another realm; or not allowed"),
            (409, "The token cannot be made now"),
        ]);

    /// Proves a pending token of a user by its first right code, which is thereby used up.
    ///
    /// What is refused, for whatever cause, is answered as a rejected verification.
    ConfirmOwnToken = confirm_own_token: POST "/v1/enrolments/{serial}/confirm" in "enrolments"
        for Access::Verify,
        at TokenSerial, query Answered, body EnrolmentConfirm,
        200 "In use, or rejected": EnrolmentConfirmed,
        yes |answer| matches!(answer, EnrolmentConfirmed::Accept { .. })
        => by_status("rejected")
        => fails(&[(409, "The user has as many tokens in use as allowed")]);
}

/// A token that a user asks for, with what proves the user.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRequest {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// A kind that the policy of the client lets users enrol.
    pub kind: String,
    /// Where its codes are sent (`sms`, `email`, `voice`); what is on record when absent.
    pub address: Option<String>,
    /// How the code of a `server` token is shown: `text`, `qr`; both when absent.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub by: Vec<String>,
    /// The user's token that ends when this one is proven.
    pub replaces: Option<String>,
    /// A code of a token in use, where the policy asks for it.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub otp: Option<SecretString>,
    /// The PIN, where the policy asks for it.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub pin: Option<SecretString>,
    /// The password, where the policy asks for it.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub password: Option<SecretString>,
    /// What is presented in addition, where the policy asks for it.
    pub step_up: Option<StepUp>,
    /// Where the person is.
    #[serde(default, deserialize_with = "client_ip")]
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
}

/// A code in addition: one of them.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// The one-use code that an operator issued.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub branch_code: Option<SecretString>,
    /// A code of the user's `sms` token in use.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub sms: Option<SecretString>,
    /// A code of the user's `voice` token in use.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub voice: Option<SecretString>,
}

/// The first code of a token.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentConfirm {
    /// Whose token it is.
    pub user: String,
    /// The code that it shows or that was sent, or the answer to a card's cells.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub otp: SecretString,
    /// Where the person is.
    #[serde(default, deserialize_with = "client_ip")]
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum EnrolmentAnswer {
    /// The token is made; its state says what is left: `requested` waits for approvals, `pending` for
    /// its first right code, `active` for nothing.
    Accept {
        /// The token, with what is shown of it only now.
        #[serde(flatten)]
        offered: Box<Offered>,
        /// Names the request in the audit.
        request_id: String,
    },
    /// What was presented did not prove the user. The cause is in the audit only.
    Reject {
        /// Names the request in the audit.
        request_id: String,
    },
}

/// What came of a first code.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum EnrolmentConfirmed {
    /// The token is in use.
    Accept {
        /// The token.
        #[serde(flatten)]
        token: Box<Token>,
        /// Names the request in the audit.
        request_id: String,
    },
    /// The code is not taken. The cause is in the audit only.
    Reject {
        /// Names the request in the audit.
        request_id: String,
    },
}
