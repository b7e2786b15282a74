//! Requests as a client makes them: for the self test, for `doctor`, for load and for tests.
//!
//! Sources: RFC 2865 s4.1, RFC 2866 s4.1, RFC 3579 s3.2, RFC 5997 s3.
//!
//! The Request Authenticator is an argument: it must be unpredictable, and entropy is the
//! caller's. Replies are checked with [`crate::radius::verify::response`].

use crate::radius::attribute::Type;
use crate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use crate::radius::encode::{Authenticator, BuildError, Builder, Encoder, MessageAuthenticator};
use crate::radius::packet::Code;
use crate::radius::password;

/// A request under construction.
pub type RequestBuilder<'b> = Builder<'b, Asked>;

/// What a request needs until it is signed.
#[derive(Debug)]
pub struct Asked {
    authenticator: RequestAuthenticator,
    code: Code,
}

impl<'b> RequestBuilder<'b> {
    /// Starts a request in `buffer`, whose contents are replaced. In accounting the authenticator
    /// is computed and the argument is not used.
    pub fn new(
        buffer: &'b mut Vec<u8>,
        code: Code,
        identifier: u8,
        authenticator: RequestAuthenticator,
        sign: MessageAuthenticator,
    ) -> Self {
        Self {
            encoder: Encoder::new(buffer, code, identifier, sign),
            purpose: Asked {
                authenticator,
                code,
            },
        }
    }

    /// Appends an attribute. Unlike in a reply, Proxy-State is allowed: proxies set it.
    ///
    /// # Errors
    /// `ValueTooLong`, `PacketTooLong`, `TooManyAttributes`, `Reserved`.
    pub fn attribute(&mut self, r#type: Type, value: &[u8]) -> Result<&mut Self, BuildError> {
        if r#type == Type::ProxyState {
            self.encoder.copy(r#type, value)?;
        } else {
            self.encoder.attribute(r#type, value)?;
        }
        Ok(self)
    }

    /// Appends a User-Password, hidden.
    ///
    /// # Errors
    /// As [`Self::attribute`], and `PasswordTooLong`.
    pub fn user_password(
        &mut self,
        password: &[u8],
        keys: &SecretKeys,
    ) -> Result<&mut Self, BuildError> {
        let mut room = [0; password::MAX_LENGTH];
        let hidden = password::hide_in(&mut room, password, &self.purpose.authenticator, keys)?;
        self.attribute(Type::UserPassword, hidden)
    }

    /// Signs. On success the buffer holds the whole packet, after an error it is empty.
    ///
    /// # Errors
    /// `PacketTooLong`.
    pub fn finish(self, keys: &SecretKeys) -> Result<(), BuildError> {
        let authenticator = match self.purpose.code {
            Code::AccessRequest | Code::StatusServer => {
                Authenticator::Random(self.purpose.authenticator.0)
            }
            // RFC 2866 s3, RFC 5176 s2.3: a digest of the packet with zeros in its place.
            _ => Authenticator::Digest([0; 16]),
        };
        self.encoder.finish(authenticator, keys)
    }
}
