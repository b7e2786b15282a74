//! What the front ends, the daemon and the commands are given: the parts that decide, over one core.

use std::sync::Arc;

use crate::admin::Admin;
use crate::core::{Core, CoreError};
use crate::explain::Explain;
use crate::login::{Login, hashing};
use crate::notify::Gauges;
use crate::policy::Policies;
use crate::secret::Entropy;
use crate::store::Store;
use crate::time::Clock;

/// The parts that decide, and what they share.
pub struct Service {
    /// Store, clock, policies, clients, counters.
    pub core: Arc<Core>,
    /// Logins, rounds, enrolment of devices, accounting.
    pub login: Arc<Login>,
    /// What administrators, and users for themselves, change.
    pub admin: Admin,
    /// Why something was decided, and what would be.
    pub explain: Explain,
    /// How the notices to users fare.
    pub notices: Arc<Gauges>,
}

impl Service {
    /// Puts the parts together and reads the clients from the store.
    pub fn new(
        store: Arc<Store>,
        policies: Policies,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        hashing: hashing::Settings,
    ) -> Result<Self, CoreError> {
        let core = Arc::new(Core::new(store, policies, clock, entropy)?);
        let login = Arc::new(Login::new(Arc::clone(&core), hashing));
        Ok(Self {
            admin: Admin::new(Arc::clone(&core), Arc::clone(&login)),
            explain: Explain::new(Arc::clone(&core), Arc::clone(&login)),
            core,
            login,
            notices: Arc::default(),
        })
    }
}
