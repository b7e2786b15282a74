//! SCIM 2.0 (RFC 7643, RFC 7644): users and groups pushed by an identity provider. Off unless a `[source.NAME]` of
//! kind `scim` names the client.

use serde_json::Value;

use crate::api::call::{Access, ScimId, calls};

calls! {
    /// Users of the source: `filter`, `startIndex`, `count`, `attributes`, `excludedAttributes`.
    ScimUsers = scim_users: GET "/scim/v2/Users" in "scim" for Access::Scim,
        200 "A page": Value;

    /// A new user.
    ScimAddUser = scim_add_user: POST "/scim/v2/Users" in "scim" for Access::Scim,
        201 "The user": Value;

    /// A user.
    ScimUser = scim_user: GET "/scim/v2/Users/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The user": Value;

    /// The user as it shall be.
    ScimPutUser = scim_put_user: PUT "/scim/v2/Users/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The user": Value;

    /// Changes of a user.
    ScimPatchUser = scim_patch_user: PATCH "/scim/v2/Users/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The user": Value;

    /// Disables a user, and shows them no more; their tokens stay.
    ScimRemoveUser = scim_remove_user: DELETE "/scim/v2/Users/{id}" in "scim" for Access::Scim,
        at ScimId,
        204 "Disabled": ();

    /// Groups of the source, as users.
    ScimGroups = scim_groups: GET "/scim/v2/Groups" in "scim" for Access::Scim,
        200 "A page": Value;

    /// A new group.
    ScimAddGroup = scim_add_group: POST "/scim/v2/Groups" in "scim" for Access::Scim,
        201 "The group": Value;

    /// A group.
    ScimGroup = scim_group: GET "/scim/v2/Groups/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The group": Value;

    /// The group as it shall be.
    ScimPutGroup = scim_put_group: PUT "/scim/v2/Groups/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The group": Value;

    /// Changes of a group.
    ScimPatchGroup = scim_patch_group: PATCH "/scim/v2/Groups/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The group": Value;

    /// Removes a group; its members stay.
    ScimRemoveGroup = scim_remove_group: DELETE "/scim/v2/Groups/{id}" in "scim" for Access::Scim,
        at ScimId,
        204 "Removed": ();

    /// What this server can do.
    ScimConfig = scim_config: GET "/scim/v2/ServiceProviderConfig" in "scim" for Access::Scim,
        200 "What it can do": Value;

    /// The kinds of resources.
    ScimResourceTypes = scim_resource_types: GET "/scim/v2/ResourceTypes" in "scim" for Access::Scim,
        200 "Both": Value;

    /// One of them.
    ScimResourceType = scim_resource_type: GET "/scim/v2/ResourceTypes/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The kind": Value;

    /// The attributes of the resources.
    ScimSchemas = scim_schemas: GET "/scim/v2/Schemas" in "scim" for Access::Scim,
        200 "Both": Value;

    /// Those of one.
    ScimSchema = scim_schema: GET "/scim/v2/Schemas/{id}" in "scim" for Access::Scim,
        at ScimId,
        200 "The attributes": Value;
}
