//! The closed list of causes: one word in audit, metrics, logs, console and documentation.
//!
//! Invariant: the word never reaches the user who is authenticated; every reject looks alike.

words! {
    /// What is answered.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum Decision {
        /// Let in.
        Accept = "accept" as 1,
        /// Refused.
        Reject = "reject" as 0,
        /// Right so far; a second round follows.
        Challenge = "challenge" as 2,
    }
}

macro_rules! reasons {
    ($($name:ident = $number:literal $decision:ident $word:literal $advice:literal),+ $(,)?) => {
        words! {
            /// Why a decision was made.
            #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
            #[allow(missing_docs)] // the table below is the documentation
            pub enum Reason { $($name = $word as $number),+ }
        }

        impl Reason {
            /// What it led to.
            pub const fn decision(self) -> Decision {
                match self { $(Self::$name => Decision::$decision),+ }
            }

            /// What happened and what an administrator does next.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),+ }
            }
        }
    };
}

reasons! {
    TotpOk = 1 Accept "totp_ok" "the time-based code was right and unused",
    HotpOk = 2 Accept "hotp_ok" "the counter-based code was right and unused",
    PinOk = 3 Accept "pin_ok" "the PIN was right and the rule asks for nothing else",
    PasswordOk = 4 Accept "password_ok" "the password was right and the rule asks for no code",
    BypassOk = 5 Accept "bypass_ok" "what the user knows was right; the code was not asked for because a bypass holds; `oncegate user bypass USER --end` ends it",
    ExemptOk = 6 Accept "exempt_ok" "an overseas exemption holds: what the rule names under `exempt` was not asked for",
    ServerOk = 8 Accept "server_ok" "the code that the device asked for was right and unused",
    YubikeyOk = 9 Accept "yubikey_ok" "the OTP of the yubikey was right and unused",
    SmsOk = 50 Accept "sms_ok" "the code sent by text message was right and unused",
    EmailOk = 51 Accept "email_ok" "the code sent by e-mail was right and unused",
    VoiceOk = 52 Accept "voice_ok" "the code of the telephone call was right and unused",
    CardOk = 53 Accept "card_ok" "the cells of the security card were right",
    RecoveryOk = 54 Accept "recovery_ok" "a recovery code was right and is used up; the user should get a token that works again",
    EnrolOk = 55 Accept "enrol_ok" "an enrolment or transfer code was right: the device is bound to the token",
    RepeatedOk = 60 Accept "repeated_ok" "the accept of this attempt was given again, to another packet of the same client, user, Calling-Station-Id and credential within the client's retry window, or to a request with the same Idempotency-Key; nothing was consumed (the note names the first request)",
    Challenged = 7 Challenge "challenged" "right so far; the next factor was asked for",
    Answered = 56 Challenge "answered" "the digits shown came back over the other channel; the login is finished where it began",
    WrongCode = 10 Reject "wrong_code" "the code is of no active token of the user, or of another time; what else was presented was right; if it repeats for a totp or hotp token, look at the phone's clock and run `oncegate token resync SERIAL`",
    UsedCode = 11 Reject "used_code" "the code was right but is already used up; wait for the next one",
    RepeatedReject = 61 Reject "repeated" "the reject of this attempt was given again, to another packet of the same client, user and credential within the client's retry window, or to a request with the same Idempotency-Key; nothing was compared or counted (the note names the first request)",
    MalformedCode = 12 Reject "malformed_code" "the code is missing, or what was typed cannot hold one of the user's tokens (ASCII digits, 6 to 9 of them); nothing was compared, and nothing was counted against the user",
    ExpiredCode = 57 Reject "expired_code" "the code was right but too late, or void after wrong answers; a new one must be asked for",
    WrongPin = 13 Reject "wrong_pin" "the PIN was wrong; a right code that came with it is used up; if the user has forgotten it, `oncegate user set USER --pin-stdin` sets a new PIN",
    WrongPassword = 14 Reject "wrong_password" "the password was wrong; a right code that came with it is used up; if the user has forgotten it, `oncegate user set USER --password-stdin` sets a new password",
    MustChange = 15 Reject "must_change" "everything was right, but the PIN or password must be changed first: `POST /v1/credentials`, or `oncegate user set USER --pin-stdin`",
    UnknownUser = 20 Reject "unknown_user" "no such user; compare the spelling and the realm with `oncegate user list`",
    UserDisabled = 21 Reject "user_disabled" "the user is disabled; `oncegate user enable USER` lets them in again",
    NoToken = 22 Reject "no_token" "the user has no token of a kind that the policy accepts; `oncegate token add USER --kind KIND` makes one",
    NotActive = 23 Reject "not_active" "the user has a token of the right kind, but none that is active; `oncegate token list --user USER` shows the states",
    NoPin = 24 Reject "no_pin" "the rule asks for a PIN and the user has none; `oncegate user set USER --pin-stdin`",
    NoPassword = 25 Reject "no_password" "the rule asks for a password and the user has none; `oncegate user set USER --password-stdin`",
    AccountDisabled = 26 Reject "account_disabled" "the directory that the user follows has the account disabled, or has it no more; enable it there; the code was not used up, and the failures of the user were not counted",
    AccountExpired = 27 Reject "account_expired" "the account of the user has expired in the directory; prolong it there; the code was not used up, and the failures of the user were not counted",
    AccountMustChange = 28 Reject "account_must_change" "the password is to be changed in the directory before it is taken; the user changes it there (at a computer of the domain, or by its self-service); the code was not used up, and the failures of the user were not counted",
    AccountLocked = 29 Reject "account_locked" "the directory has locked the account after wrong passwords; unlock it there, and see in the audit where they came from; the code was not used up, and the failures of the user were not counted",
    Locked = 30 Reject "locked" "too many failures; `oncegate user unlock USER` ends the lock; it ends by itself too, unless `hard_lock_after` failures were reached",
    Throttled = 31 Reject "throttled" "the attempt came too soon after a failure and was not evaluated; it says nothing about the code; wait some seconds",
    SourceBlocked = 32 Reject "source_blocked" "too many failures of any users came from this address; it is evaluated again after a while (policy `[lockout]`)",
    NoRule = 40 Reject "no_rule" "no rule of the client's policy applies to this request",
    OtherRealm = 41 Reject "other_realm" "the client may only ask for users of its own realm",
    StaleChallenge = 42 Reject "stale_challenge" "the second round came too late, was answered before, or client, user, policy, PIN, password or the token of the first code are not as they were then (the note says which, where it is known); start again with the first factor",
    WrongSender = 58 Reject "wrong_sender" "the message came from a number for which no login waits for an answer",
    NotAnswered = 59 Reject "not_answered" "the login was to be finished before the person answered on the other channel; nothing was compared, and nothing was counted against the user",
    MethodNotAllowed = 71 Reject "method_not_allowed" "the NAS sent the credential by a method by which it cannot be compared, or which the client is not allowed (the note says which; `method`: none, mixed too); set the NAS to PAP for this server, or allow the client the method; nothing was compared, and nothing was counted against the user",
    ReplyTooLong = 70 Reject "reply_too_long" "the reply that the policy asks for cannot be sent, so nothing was compared, consumed or counted against the user: the note says which attribute is too long, or that all of them are; shorten `[reply]` of the policy, or what its placeholders stand for",
    LowAssurance = 43 Reject "low_assurance" "the request or the rule demands more assurance than these factors and tokens reach",
}

impl Reason {
    /// Whether a refusal without comparison may answer a guess at names.
    pub const fn is_guess(self) -> bool {
        matches!(
            self,
            Self::UnknownUser
                | Self::UserDisabled
                | Self::AccountDisabled
                | Self::AccountExpired
                | Self::AccountLocked
                | Self::NoToken
                | Self::NotActive
                | Self::NoPin
                | Self::NoPassword
        )
    }

    /// Whether a refusal without comparison depends on whose name it was. Where names are tried each of them counts,
    /// or what is counted tells the names of users from others (threats T12).
    pub const fn is_of_name(self) -> bool {
        let state = matches!(
            self,
            Self::NoRule
                | Self::StaleChallenge
                | Self::LowAssurance
                | Self::Locked
                | Self::Throttled
        );
        state || self.is_guess()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_unique_and_reversible() {
        for reason in &Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }
}
