//! Objects that have nothing to wait for.
//!
//! async-graphql makes a future on the heap for each field and polls all of an object's together. A page of 50 people has some 1,900
//! fields, nearly all of them there already: making the futures takes longer than all else that is done for the page. Here
//! such an object's fields are answered one after the other, in place, by the same generated resolvers.

use std::borrow::Cow;

use async_graphql::{
    ContainerType, ContextSelectionSet, OutputType, Positioned, ServerResult, Value,
    indexmap::IndexMap,
    parser::types::{Field, Selection, SelectionSet, TypeCondition},
    registry::Registry,
    resolver_utils::resolve_container,
};

/// What may be answered in place.
pub trait Plain: ContainerType {
    /// Whether this field has to be waited for: then all fields are waited for together, as everywhere else.
    fn waits(&self, _field: &str) -> bool {
        false
    }
}

/// An object, or a list of objects, answered in place. The type must not contain itself by such objects only.
pub struct Flat<T>(pub T);

impl<T: Plain + Send + Sync> OutputType for Flat<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _field: &Positioned<Field>) -> ServerResult<Value> {
        answer(ctx, &self.0).await
    }
}

impl<T: Plain + Send + Sync> OutputType for Flat<Vec<T>> {
    fn type_name() -> Cow<'static, str> {
        <Vec<T>>::type_name()
    }

    fn qualified_type_name() -> String {
        <Vec<T>>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Vec<T>>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _field: &Positioned<Field>) -> ServerResult<Value> {
        let mut list = Vec::with_capacity(self.0.len());
        for (index, object) in self.0.iter().enumerate() {
            list.push(answer(&ctx.with_index(index), object).await?);
        }
        Ok(Value::List(list))
    }
}

async fn answer<T: Plain + Send + Sync>(ctx: &ContextSelectionSet<'_>, object: &T) -> ServerResult<Value> {
    let mut fields = Vec::with_capacity(ctx.item.node.items.len());
    if !in_place(ctx, object, &ctx.item.node, &mut fields) {
        return resolve_container(ctx, object).await;
    }
    let mut answers = IndexMap::with_capacity(fields.len());
    for field in fields {
        let answer = if field.node.name.node == "__typename" {
            Value::String(T::type_name().into_owned())
        } else {
            let answer = object.resolve_field(&ctx.with_field(field)).await?;
            answer.unwrap_or_default()
        };
        answers.insert(field.node.response_key().node.clone(), answer);
    }
    Ok(Value::Object(answers))
}

/// Collects the selected fields; false if not each of them can be answered in place. Directives and fields that are selected twice (whose
/// answers are merged) are left to the library.
fn in_place<'s, T: Plain>(
    ctx: &ContextSelectionSet<'s>,
    object: &T,
    selected: &'s SelectionSet,
    fields: &mut Vec<&'s Positioned<Field>>,
) -> bool {
    let is_of = |condition: &TypeCondition| condition.on.node == *T::type_name();
    selected.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) => {
            let key = &field.node.response_key().node;
            let is_plain = field.node.directives.is_empty()
                && !object.waits(&field.node.name.node)
                && !fields.iter().any(|other| other.node.response_key().node == *key);
            fields.push(field);
            is_plain
        }
        Selection::FragmentSpread(spread) => {
            let fragment = ctx.query_env.fragments.get(&spread.node.fragment_name.node);
            fragment.is_some_and(|fragment| {
                spread.node.directives.is_empty()
                    && is_of(&fragment.node.type_condition.node)
                    && in_place(ctx, object, &fragment.node.selection_set.node, fields)
            })
        }
        Selection::InlineFragment(fragment) => {
            let condition = fragment.node.type_condition.as_ref();
            fragment.node.directives.is_empty()
                && condition.is_none_or(|condition| is_of(&condition.node))
                && in_place(ctx, object, &fragment.node.selection_set.node, fields)
        }
    })
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};

    use super::*;

    struct Thing(i32);

    #[Object]
    impl Thing {
        async fn number(&self) -> i32 {
            self.0
        }

        async fn doubled(&self, times: Option<i32>) -> i32 {
            self.0 * times.unwrap_or(2)
        }

        async fn slow(&self) -> i32 {
            tokio::task::yield_now().await;
            self.0
        }

        async fn parts(&self) -> Flat<Vec<Part>> {
            Flat(vec![Part(self.0 + 1), Part(self.0 + 2)])
        }
    }

    struct Part(i32);

    #[Object]
    impl Part {
        async fn number(&self) -> i32 {
            self.0
        }

        async fn doubled(&self) -> i32 {
            self.0 * 2
        }

        async fn broken(&self) -> async_graphql::Result<i32> {
            Err("broken".into())
        }
    }

    impl Plain for Part {}

    impl Plain for Thing {
        fn waits(&self, field: &str) -> bool {
            field == "slow"
        }
    }

    struct Query;

    #[Object]
    impl Query {
        async fn flat(&self) -> Option<Flat<Thing>> {
            Some(Flat(Thing(1)))
        }

        async fn flats(&self) -> Flat<Vec<Thing>> {
            Flat(vec![Thing(1), Thing(5)])
        }

        async fn usual(&self) -> Option<Thing> {
            Some(Thing(1))
        }

        async fn usuals(&self) -> Vec<Thing> {
            vec![Thing(1), Thing(5)]
        }
    }

    async fn ask(query: &str) -> async_graphql::Response {
        Schema::new(Query, EmptyMutation, EmptySubscription)
            .execute(query)
            .await
    }

    #[tokio::test]
    async fn answers_are_the_librarys() {
        for selection in [
            "number",
            "number two: number slow",
            "doubled more: doubled(times: 5)",
            "__typename number",
            "number number parts { number } parts { doubled }",
            "... on Thing { number } doubled",
            "...Few slow",
            "number @include(if: false) doubled @skip(if: false)",
            "parts { doubled number } doubled",
        ] {
            let fragment = if selection.contains("Few") {
                "fragment Few on Thing { number parts { number } }"
            } else {
                ""
            };
            for (flat, usual) in [("flat", "usual"), ("flats", "usuals")] {
                let flat = ask(&format!("{{ it: {flat} {{ {selection} }} }} {fragment}")).await;
                let usual = ask(&format!("{{ it: {usual} {{ {selection} }} }} {fragment}")).await;
                assert_eq!(flat.errors, vec![], "{selection}");
                assert_eq!(flat.data, usual.data, "{selection}");
            }
        }
    }

    #[tokio::test]
    async fn an_error_names_its_place_and_empties_the_nearest_nullable_value() {
        let response = ask("{ flat { number parts { broken } } }").await;
        assert_eq!(response.data.to_string(), "{flat: null}");
        let place = serde_json::to_value(&response.errors[0].path).expect("JSON");
        assert_eq!(place, serde_json::json!(["flat", "parts", 0, "broken"]));
    }
}
