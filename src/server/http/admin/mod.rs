//! `/v1/admin/*`: everything the command line can do.
//!
//! Handlers translate between the API's forms and the verbs of the administration, which decide what is
//! allowed. Who may call, and how a call is read and answered, is in [`crate::server::http::route`].

use crate::server::http::route::Routes;

mod audit;
mod backup;
mod clients;
mod console;
mod delegations;
mod delivery;
mod devices;
mod drafts;
mod explain;
mod import;
mod keys;
mod lifecycle;
mod operation;
mod sessions;
mod sources;
mod tokens;
mod users;

pub(super) fn routes(mut routes: Routes) -> Routes {
    for noun in [
        users::routes,
        tokens::routes,
        lifecycle::routes,
        delegations::routes,
        clients::routes,
        import::routes,
        devices::routes,
        sessions::routes,
        sources::routes,
        audit::routes,
        backup::routes,
        keys::routes,
        explain::routes,
        delivery::routes,
        operation::routes,
        drafts::routes,
        console::routes,
    ] {
        routes = noun(routes);
    }
    routes
}
