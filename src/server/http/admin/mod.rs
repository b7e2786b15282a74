//! `/v1/admin/*`: everything the command line can do.
//!
//! Handlers translate between the API's forms and the verbs of the administration, which decide what is
//! allowed. Who may call, and how a call is read and answered, is in [`crate::server::http::route`].

use crate::api::TailAudit;
use crate::server::http::route::Routes;

mod audit;
mod clients;
mod delegations;
mod delivery;
mod devices;
mod explain;
mod import;
mod lifecycle;
mod operation;
mod sessions;
mod tokens;
mod users;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(users::list)
        .on(users::add)
        .on(users::show)
        .on(users::set)
        .on(users::remove)
        .on(users::unlock)
        .on(users::erase)
        .on(users::demo_code)
        .on(users::grant_bypass)
        .on(users::end_bypass)
        .on(users::grant_exemption)
        .on(users::end_exemption)
        .on(tokens::list)
        .on(tokens::add)
        .on(tokens::show)
        .on(tokens::remove)
        .on(lifecycle::confirm)
        .on(lifecycle::resync)
        .on(lifecycle::suspend)
        .on(lifecycle::resume)
        .on(lifecycle::revoke)
        .on(lifecycle::offer)
        .on(lifecycle::approve)
        .on(lifecycle::deny)
        .on(lifecycle::renew)
        .on(lifecycle::link)
        .on(lifecycle::unlink)
        .on(delegations::list)
        .on(delegations::add)
        .on(delegations::remove)
        .on(delegations::show_outage)
        .on(delegations::declare_outage)
        .on(delegations::end_outage)
        .on(clients::list)
        .on(clients::add)
        .on(clients::show)
        .on(clients::set)
        .on(clients::remove)
        .on(clients::rotate)
        .on(import::import)
        .on(devices::list)
        .on(devices::show)
        .on(devices::rename)
        .on(devices::revoke)
        .on(sessions::list)
        .on(audit::list)
        .on(audit::show)
        .on(audit::verify)
        .on(audit::prune)
        .on_request::<TailAudit, _, _>(audit::tail)
        .on(explain::request)
        .on(explain::login_to_come)
        .on(delivery::list)
        .on(delivery::test)
        .on(operation::status)
        .on(operation::verify_store)
        .on(operation::list_policies)
        .on(operation::recover_clock)
        .on(operation::compare_files)
        .on(operation::reload)
}
