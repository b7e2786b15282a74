//! Verifiers of what users know. The whole body is sealed for its row; the revision stands before
//! it, so that a condition is checked without opening anything.

use serde::{Deserialize, Serialize};

use crate::credential::Hash;
use crate::model::credential::{Credentials, Verifier};
use crate::secret::{Entropy, SecretString};
use crate::store::StoreError;
use crate::store::record::{BAD_FORM, Table, row, take};
use crate::store::seal::ring::number_of;
use crate::store::seal::{Place, Sealer};
use crate::time::UnixTime;

#[derive(Serialize, Deserialize)]
struct CredentialsV1 {
    revision: u64,
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct BodyV1 {
    pin: Option<VerifierV1>,
    password: Option<VerifierV1>,
}

/// Version 2.
#[derive(Serialize, Deserialize)]
struct BodyV2 {
    verifiers: BodyV1,
    pin_text: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct VerifierV1 {
    hash: String,
    length: Option<u16>,
    set: u64,
    must_change: bool,
    previous: Vec<String>,
}

impl From<&Verifier> for VerifierV1 {
    fn from(verifier: &Verifier) -> Self {
        Self {
            hash: verifier.hash.expose().to_owned(),
            length: verifier.length,
            set: verifier.set.as_millis(),
            must_change: verifier.must_change,
            previous: verifier
                .previous
                .iter()
                .map(|hash| hash.expose().to_owned())
                .collect(),
        }
    }
}

impl VerifierV1 {
    fn parse(self) -> Result<Verifier, StoreError> {
        let hash = |text| Hash::parse(&SecretString::new(text)).map_err(|_| BAD_FORM);
        Ok(Verifier {
            hash: hash(self.hash)?,
            length: self.length,
            set: UnixTime::from_millis(self.set),
            must_change: self.must_change,
            previous: self
                .previous
                .into_iter()
                .map(hash)
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The row of the verifiers of the user with this row key.
pub(crate) fn credentials_row(
    owner: &[u8],
    credentials: &Credentials,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let verifiers = BodyV1 {
        pin: credentials.pin.as_ref().map(VerifierV1::from),
        password: credentials.password.as_ref().map(VerifierV1::from),
    };
    let body = match &credentials.pin_text {
        None => row(1, &verifiers)?,
        Some(text) => {
            let pin_text = Some(text.expose().to_owned());
            row(
                2,
                &BodyV2 {
                    verifiers,
                    pin_text,
                },
            )?
        }
    };
    let body = zeroize::Zeroizing::new(body);
    let form = CredentialsV1 {
        revision: credentials.revision,
        sealed: sealer.seal(place(owner), &body, entropy)?,
    };
    row(1, &form)
}

/// Reads the verifiers.
pub(crate) fn credentials(
    owner: &[u8],
    bytes: &[u8],
    sealer: &Sealer,
) -> Result<Credentials, StoreError> {
    let form: CredentialsV1 = take(1, bytes)?;
    let opened = sealer.open(place(owner), &form.sealed)?;
    let BodyV2 {
        verifiers: body,
        pin_text,
    } = match opened.expose().first() {
        Some(2) => take(2, opened.expose())?,
        _ => BodyV2 {
            verifiers: take(1, opened.expose())?,
            pin_text: None,
        },
    };
    Ok(Credentials {
        pin_text: pin_text.map(SecretString::new),
        pin: body.pin.map(VerifierV1::parse).transpose()?,
        password: body.password.map(VerifierV1::parse).transpose()?,
        revision: form.revision,
    })
}

/// Number of the data key that seals them.
pub(crate) fn credentials_sealed_by(bytes: &[u8]) -> Result<u8, StoreError> {
    take(1, bytes).map(|form: CredentialsV1| number_of(&form.sealed))
}

/// The row sealed by the newest data key; `None`: it is already.
pub(crate) fn credentials_resealed(
    owner: &[u8],
    bytes: &[u8],
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Option<Vec<u8>>, StoreError> {
    let form: CredentialsV1 = take(1, bytes)?;
    let sealed = sealer.reseal(place(owner), &form.sealed, entropy)?;
    let again = sealed.map(|sealed| row(1, &CredentialsV1 { sealed, ..form }));
    again.transpose()
}

/// What a conditional change compares, without opening anything.
pub(crate) fn credentials_revision(bytes: &[u8]) -> Result<u64, StoreError> {
    take(1, bytes).map(|form: CredentialsV1| form.revision)
}

fn place(owner: &[u8]) -> Place<'_> {
    Place {
        table: Table::Credentials.as_str(),
        row: owner,
        field: "verifiers",
        version: 1,
    }
}
