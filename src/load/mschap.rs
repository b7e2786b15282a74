//! MS-CHAPv2 as a client speaks it: the response to a challenge, and what proves that the server
//! knows the password too.

use subtle::ConstantTimeEq as _;

use crate::radius::mschap::{
    authenticator_response, challenge_hash, challenge_response, nt_password_hash,
};

pub(super) use crate::radius::microsoft::{
    CHALLENGE, RESPONSE_2 as RESPONSE, SUCCESS_2 as SUCCESS, VENDOR,
};

/// What a login is answered with, and what a server must answer that accepts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Exchange {
    /// The response (NT-Response).
    pub(super) response: [u8; 24],
    /// The digest behind `S=` (the authenticator response).
    proof: [u8; 20],
}

impl Exchange {
    /// Computes both. `user` is what is sent as User-Name. A password that is no UTF-8 is read as far as it is.
    pub(super) fn new(
        user: &str,
        password: &[u8],
        authenticator_challenge: &[u8; 16],
        peer_challenge: &[u8; 16],
    ) -> Self {
        let hash = nt_password_hash(&String::from_utf8_lossy(password));
        let challenge = challenge_hash(peer_challenge, authenticator_challenge, user.as_bytes());
        let response = challenge_response(challenge, &hash);
        let proof = authenticator_response(&hash, &response, challenge);
        Self { response, proof }
    }

    /// Whether the value of an MS-CHAP2-Success proves that the server knows the password.
    pub(super) fn is_proven_by(&self, success: &[u8]) -> bool {
        let Some(digits) = success.get(1..).and_then(|text| text.strip_prefix(b"S=")) else {
            return false;
        };
        let expected = data_encoding::HEXUPPER.encode(&self.proof);
        let given = digits.get(..expected.len()).unwrap_or_default();
        given.ct_eq(expected.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_the_password_proves_nothing() {
        let exchange = Exchange::new("User", b"clientPass", &[1; 16], &[2; 16]);
        for success in [
            &b""[..],
            b"\x07",
            b"\x07S=",
            b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56",
            b"\x07E=691",
        ] {
            assert!(!exchange.is_proven_by(success), "{success:?}");
        }
    }
}
