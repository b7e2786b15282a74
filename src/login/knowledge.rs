//! What a user knows: comparing it in a place of the hashing queue, and making outdated hashes anew.

use std::sync::Arc;

use crate::core::CoreError;
use crate::login::Login;
use crate::login::assess::Evaluation;
use crate::login::hashing::Place;
use crate::model::credential::{Credentials, Knowledge};
use crate::secret::{SecretString, random};
use crate::store::{By, Change};

impl Login {
    /// Whether this is what the user knows.
    pub(crate) async fn knows(
        &self,
        credentials: &Credentials,
        (which, text): (Knowledge, Option<&str>),
        outdated: &mut Vec<(Knowledge, SecretString)>,
        place: Option<&Place>,
    ) -> Result<bool, CoreError> {
        let place = self.placed(place)?;
        let (Some(text), Some(verifier)) = (text, credentials.get(which)) else {
            self.hasher.spend(&place).await?;
            return Ok(false);
        };
        let text = SecretString::from(text);
        let right = self
            .hasher
            .verify(&place, text.clone(), verifier.hash.clone())
            .await?;
        if right && self.hasher.is_outdated(&verifier.hash) {
            outdated.push((which, text));
        }
        Ok(right)
    }

    /// The time of a comparison; whoever is blocked only waits for it.
    pub(crate) async fn spend(
        &self,
        place: Option<&Place>,
        blocked: bool,
    ) -> Result<(), CoreError> {
        let place = self.placed(place)?;
        if blocked {
            self.hasher.wait(&place).await
        } else {
            self.hasher.spend(&place).await
        }
    }

    /// The place in the hashing queue that was taken, or one now.
    fn placed(&self, place: Option<&Place>) -> Result<Place, CoreError> {
        match place {
            Some(place) => Ok(place.clone()),
            None => self.hasher.place(false),
        }
    }

    /// Makes outdated hashes anew, behind the answer. Another change in between wins.
    pub(crate) fn renew(&self, evaluation: &Evaluation<'_>) {
        if !evaluation.outdated.is_empty() {
            self.core.tasks.spawn(self.renewal(evaluation));
        }
    }

    fn renewal(
        &self,
        evaluation: &Evaluation<'_>,
    ) -> impl Future<Output = Result<(), CoreError>> + Send + use<> {
        let (store, hasher) = (Arc::clone(&self.core.store), Arc::clone(&self.hasher));
        let (clock, entropy) = (Arc::clone(&self.core.clock), Arc::clone(&self.core.entropy));
        let mut credentials = evaluation.credentials.clone();
        let (outdated, key) = (
            evaluation.outdated.clone(),
            evaluation.view.user.key.clone(),
        );
        async move {
            for (which, text) in outdated {
                let salt = random(entropy.as_ref())?;
                let hash = hasher.renew(text, salt).await?;
                if let (Some(verifier), Some(hash)) = (credentials.get_mut(which), hash) {
                    verifier.hash = hash;
                }
            }
            let now = clock.now();
            let by = By::daemon((
                crate::model::id::RequestId::new(now, random(entropy.as_ref())?),
                now,
            ));
            let change = Change::RenewCredentials(key, credentials);
            Ok(store.change(change, by).await?)
        }
    }
}
