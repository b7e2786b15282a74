//! The request shapes of other products, for clients that are not changed. Off unless `http.compat` names them.

use serde_json::Value;

use crate::api::call::{Access, ClientChallenge, ClientName, calls};

calls! {
    /// `/validate/check` of privacyIDEA and `LinOTP`: query or form `user`, `realm`, `pass`, `transaction_id`.
    CompatCheck = compat_check: POST "/compat/{client}/validate/check" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// The same.
    CompatCheckGet = compat_check_get: GET "/compat/{client}/validate/check" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// `/validate/radiuscheck` of privacyIDEA: 204 is yes, 400 is no.
    CompatRadius = compat_radius: POST "/compat/{client}/validate/radiuscheck" in "compat" for Access::Network,
        at ClientName,
        204 "Yes": () => fails(&[(400, "No")]);

    /// The same.
    CompatRadiusGet = compat_radius_get: GET "/compat/{client}/validate/radiuscheck" in "compat"
        for Access::Network,
        at ClientName,
        204 "Yes": () => fails(&[(400, "No")]);

    /// `/wsapi/2.0/verify` of Yubico: query `id`, `otp`, `nonce`, `h`, `timestamp`, `sl`; the answer is text.
    CompatYubico = compat_yubico: GET "/compat/{client}/wsapi/2.0/verify" in "compat" for Access::Network,
        at ClientName,
        200 "A signed status": String;

    /// The same, where `id` names the client.
    CompatYubicoById = compat_yubico_by_id: GET "/wsapi/2.0/verify" in "compat" for Access::Network,
        200 "A signed status": String;

    /// `/validate/polltransaction` of privacyIDEA: how a challenge stands.
    CompatPoll = compat_poll: GET "/compat/{client}/validate/polltransaction" in "compat" for Access::Network,
        at ClientName,
        200 "How it stands": Value;

    /// The same, with the challenge in the path.
    CompatPollById = compat_poll_by_id: GET "/compat/{client}/validate/polltransaction/{challenge}" in "compat"
        for Access::Network,
        at ClientChallenge,
        200 "How it stands": Value;

    /// `/validate/simplecheck` of `LinOTP`, which its PAM module asks: `:-)` is yes, `:-(` no, or `:-( CHALLENGE PROMPT`.
    CompatSimple = compat_simple: POST "/compat/{client}/validate/simplecheck" in "compat" for Access::Network,
        at ClientName,
        200 "Yes, no, or a challenge": String;

    /// The same.
    CompatSimpleGet = compat_simple_get: GET "/compat/{client}/validate/simplecheck" in "compat" for Access::Network,
        at ClientName,
        200 "Yes, no, or a challenge": String;

    /// `/auth` of privacyIDEA: `username` and `password` are an API client and its key; a token for an hour.
    CompatAuth = compat_auth: POST "/compat/{client}/auth" in "compat" for Access::Network,
        at ClientName,
        200 "A token": Value => fails(&[(401, "No such account, or another key")]);

    /// `/validate/triggerchallenge` of privacyIDEA: begins a login of `user` with nothing typed yet.
    CompatTrigger = compat_trigger: POST "/compat/{client}/validate/triggerchallenge" in "compat" for Access::Network,
        at ClientName,
        200 "What is asked for": Value => fails(&[(401, "No token, or none that is good")]);

    /// The same.
    CompatTriggerGet = compat_trigger_get: GET "/compat/{client}/validate/triggerchallenge" in "compat"
        for Access::Network,
        at ClientName,
        200 "What is asked for": Value => fails(&[(401, "No token, or none that is good")]);

    /// `/token/` of privacyIDEA: the tokens of `user`.
    CompatTokens = compat_tokens: GET "/compat/{client}/token/" in "compat" for Access::Network,
        at ClientName,
        200 "The tokens": Value => fails(&[(401, "No token, or none that is good")]);

    /// The same: privacyIDEA leads from here to there.
    CompatTokensHere = compat_tokens_here: GET "/compat/{client}/token" in "compat" for Access::Network,
        at ClientName,
        200 "The tokens": Value => fails(&[(401, "No token, or none that is good")]);

    /// `/token/init` of privacyIDEA: makes a totp or hotp token for `user`.
    CompatInit = compat_init: POST "/compat/{client}/token/init" in "compat" for Access::Network,
        at ClientName,
        200 "Made": Value => fails(&[(401, "No token, or none that is good")]);

    /// `/validate/check_yubikey` of `LinOTP`: `pass` is the OTP of a yubikey, which says whose it is.
    CompatPress = compat_press: POST "/compat/{client}/validate/check_yubikey" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// The same.
    CompatPressGet = compat_press_get: GET "/compat/{client}/validate/check_yubikey" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// `/validate/check_s` of `LinOTP`: `serial` says whose token it is, `pass` is compared with that one alone.
    CompatToken = compat_token: POST "/compat/{client}/validate/check_s" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// The same.
    CompatTokenGet = compat_token_get: GET "/compat/{client}/validate/check_s" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// `/validate/check_t` of `LinOTP`: `pass` answers the challenge that `state` or `transactionid` names.
    CompatTransaction = compat_transaction: POST "/compat/{client}/validate/check_t" in "compat" for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// The same.
    CompatTransactionGet = compat_transaction_get: GET "/compat/{client}/validate/check_t" in "compat"
        for Access::Network,
        at ClientName,
        200 "A decision": Value;

    /// `/validate/check_status` of `LinOTP`, asked by a form.
    CompatStatusPost = compat_status_post: POST "/compat/{client}/validate/check_status" in "compat" for Access::Network,
        at ClientName,
        200 "How it stands": Value;

    /// `/validate/check_status` of `LinOTP`: how a challenge stands, by `transactionid`.
    CompatStatus = compat_status: GET "/compat/{client}/validate/check_status" in "compat" for Access::Network,
        at ClientName,
        200 "How it stands": Value;
}
