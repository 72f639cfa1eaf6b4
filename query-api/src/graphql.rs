//! The schema: what can be asked, and by whom.

mod employee;
mod flat;
mod heads;
mod models;
mod overview;
pub mod past;
mod pay_change;
mod program;
mod query;
mod risk;
mod scalar;
mod subscription;
mod tenant;
mod timeline;
mod trends;

use async_graphql::{EmptyMutation, Request, SDLExportOptions, Schema, SchemaBuilder};

use self::{query::Query, subscription::Subscription};
use crate::{
    access::Viewer,
    freshness::Freshness,
    limits::{COMPLEXITY_MAX, DEPTH_MAX, DIRECTIVES_PER_FIELD_MAX},
    loaders::Loaders,
    store::Store,
};

pub type TenureSchema = Schema<Query, EmptyMutation, Subscription>;

/// The schema, and a door to its description alone.
pub struct Schemas {
    pub main: TenureSchema,
    /// Answers introspection and nothing else; such queries are deeper than ours may be. In development only.
    pub introspection: Option<TenureSchema>,
}

impl Schemas {
    pub fn new(store: &Store, freshness: &Freshness, development: bool) -> Self {
        let main = build()
            .data(store.clone())
            .data(freshness.clone())
            .limit_depth(DEPTH_MAX)
            .limit_complexity(COMPLEXITY_MAX)
            .limit_directives(DIRECTIVES_PER_FIELD_MAX)
            .disable_suggestions()
            .disable_introspection()
            .finish();
        let introspection = development.then(|| build().introspection_only().disable_suggestions().finish());
        Self { main, introspection }
    }
}

fn build() -> SchemaBuilder<Query, EmptyMutation, Subscription> {
    Schema::build(Query, EmptyMutation, Subscription)
}

/// Gives a request its viewer, and loaders of its own.
pub fn equip(request: Request, viewer: Viewer, store: &Store) -> Request {
    request.data(viewer).data(Loaders::new(store))
}

/// The schema as it is committed in `schemas/schema.graphql`.
#[must_use]
pub fn sdl() -> String {
    build().finish().sdl_with_options(
        SDLExportOptions::new()
            .sorted_fields()
            .sorted_arguments()
            .sorted_enum_items()
            .include_specified_by(),
    )
}

#[cfg(test)]
mod tests;
