//! Replies: Access-Accept, Access-Reject, Access-Challenge, and the answer to Status-Server.
//!
//! Sources: RFC 2865 s4.2 to s4.4, s5.33 (Proxy-State); RFC 3579 s3.2; RFC 5997 s4.
//!
//! Invariants: Message-Authenticator is the first attribute unless the client's exemption says
//! otherwise; every Proxy-State of the request comes back unmodified and in order; the Identifier
//! is the request's. All of that is the builder's doing, none of it the caller's.
//!
//! Threat: CVE-2024-3596, see [`MessageAuthenticator`].

use crate::radius::attribute::Type;
use crate::radius::authenticator::SecretKeys;
use crate::radius::encode::{Authenticator, BuildError, Builder, Encoder, MessageAuthenticator};
use crate::radius::packet::{Code, Packet};

/// A reply under construction, and the request that it answers.
pub type ReplyBuilder<'b, 'r> = Builder<'b, Packet<'r>>;

impl<'b, 'r> ReplyBuilder<'b, 'r> {
    /// Starts a reply to `request` in `buffer`, whose contents are replaced.
    pub fn new(
        buffer: &'b mut Vec<u8>,
        code: Code,
        request: &Packet<'r>,
        sign: MessageAuthenticator,
    ) -> Self {
        Self {
            encoder: Encoder::new(buffer, code, request.identifier, sign),
            purpose: *request,
        }
    }

    /// Appends an attribute.
    ///
    /// # Errors
    /// `ValueTooLong`, `PacketTooLong`, `TooManyAttributes`, `Reserved`; nothing was appended.
    pub fn attribute(&mut self, r#type: Type, value: &[u8]) -> Result<&mut Self, BuildError> {
        self.encoder.attribute(r#type, value)?;
        Ok(self)
    }

    /// Copies Proxy-State and signs. On success the buffer holds the whole packet, after an error
    /// it is empty.
    ///
    /// # Errors
    /// `PacketTooLong`, `TooManyAttributes`.
    pub fn finish(mut self, keys: &SecretKeys) -> Result<(), BuildError> {
        // RFC 2865 s5.33: copied unmodified into every reply, all of them, in order.
        for value in self.purpose.all(Type::ProxyState) {
            if let Err(error) = self.encoder.copy(Type::ProxyState, value) {
                self.encoder.abandon();
                return Err(error);
            }
        }
        self.encoder
            .finish(Authenticator::Digest(*self.purpose.authenticator), keys)
    }
}

#[cfg(test)]
mod tests;
