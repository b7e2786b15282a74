//! `/v1/admin/explain`: why was it decided so, and what would happen. Changes nothing.

use std::sync::Arc;

use crate::api::explain::{ExplainRequest, Explanation, Explanations, ForeseeLogin};
use crate::explain::Supposed;
use crate::model::method::METHODS;
use crate::server::http::error::Failure;
use crate::server::http::read::time;
use crate::server::http::route::{Admin, Routes};
use crate::server::http::{App, tell};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(request).on(login_to_come)
}

async fn request(app: Arc<App>, call: Admin<ExplainRequest>) -> Result<Explanations, Failure> {
    let found = app.explain().explain(call.place).await?;
    if found.records.is_empty() {
        return Err(Failure::not_found(
            "there is no record of this request; one that could not be decided, or was sent again by the NAS, has \
             none of its own",
        )
        .advise("`oncegate audit list` shows the ids of the newest ones; with --since it reaches further back"));
    }
    Ok(found)
}

async fn login_to_come(app: Arc<App>, call: Admin<ForeseeLogin>) -> Result<Explanation, Failure> {
    let value = call.body;
    let at = value.at.as_deref().map(|text| time("at", text));
    let method = value.method.as_deref();
    if method.is_some_and(|method| !METHODS.contains(&method)) {
        let words = METHODS.join(", ");
        return Err(Failure::malformed(format!("method: one of {words}")));
    }
    let attributes = value.attributes.iter().flat_map(|(name, values)| {
        let values = values.iter();
        values.map(move |value| (name.as_str(), value.as_str()))
    });
    let attributes: Vec<(&str, &str)> = attributes.collect();
    let context = value.context.iter();
    let context: Vec<(&str, &str)> = context.map(|(name, value)| (&**name, &**value)).collect();
    let supposed = Supposed {
        user: &value.user,
        client: &value.client,
        at: at.transpose()?,
        source: value.client_ip,
        method,
        attributes: &attributes,
        context: &context,
    };
    let foresight = app.explain().foresee(supposed);
    foresight.map_err(|error| tell::client(&app, &value.client, error))
}
