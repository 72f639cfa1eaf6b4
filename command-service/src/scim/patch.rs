//! Changes to a resource (RFC 7644 §3.5.2), in the shapes that Okta and Entra ID really send (facts/connectors.md A3).

use std::collections::HashSet;

use serde_json::Value;

use super::{
    filter::{Filter, FilterProblem, Path, Target},
    problem::ScimProblem,
    schema::{Mutability, Object, ResourceType},
    value,
};

/// The most changes of one request.
const OPERATIONS_MAX: usize = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// Makes all changes of a request to `resource`, or none.
///
/// # Errors
/// When one is not understood, or may not be made.
pub fn apply(of: ResourceType, resource: &Object, request: &Value) -> Result<Object, ScimProblem> {
    let syntax = |text: &str| ScimProblem::bad("invalidSyntax", text);
    let operations = member(request, "Operations")
        .and_then(Value::as_array)
        .ok_or_else(|| syntax("The request is to have Operations"))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(ScimProblem::bad(
            "tooMany",
            format!("A request may have {OPERATIONS_MAX} operations: send them in several"),
        ));
    }
    let mut changed = resource.clone();
    for operation in operations {
        let verb = member(operation, "op").and_then(Value::as_str).unwrap_or_default();
        let verb = match verb.to_ascii_lowercase().as_str() {
            "add" => Verb::Add,
            "replace" => Verb::Replace,
            "remove" => Verb::Remove,
            _ => return Err(syntax("op is to be add, replace or remove")),
        };
        let sent = member(operation, "value").unwrap_or(&Value::Null);
        // A group has no primary values, and perhaps very many members.
        let before = (of == ResourceType::User).then(|| changed.clone());
        match member(operation, "path").and_then(Value::as_str).map(str::trim) {
            Some(path) if !path.is_empty() => change(of, &mut changed, verb, (path, sent))?,
            _ if verb == Verb::Remove => {
                return Err(ScimProblem::bad("noTarget", "A remove operation is to have a path"));
            }
            _ => each(of, &mut changed, verb, sent)?,
        }
        value::tidy(&mut changed, before.as_ref())?;
    }
    value::check(of, &changed)?;
    Ok(changed)
}

/// A member by its name in any case.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    object.get(name).or_else(|| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// A change without a path: of each attribute that `sent` names, which may also be a path. What is not known or cannot be set here is
/// left out, as in a whole resource.
fn each(of: ResourceType, resource: &mut Object, verb: Verb, sent: &Value) -> Result<(), ScimProblem> {
    let sent = sent.as_object().ok_or_else(|| {
        ScimProblem::bad(
            "invalidValue",
            "An operation without a path is to have an object as value",
        )
    })?;
    for (name, value) in sent {
        let Ok(target) = Target::parse(of, name) else { continue };
        match (target.path.extension, target.path.attribute, value) {
            (Some(extension), None, Value::Object(parts)) => {
                for (part, value) in parts {
                    let Ok(target) = Target::parse(of, &format!("{}:{part}", extension.urn)) else {
                        continue;
                    };
                    if !is_read_only(&target.path) {
                        aim(resource, verb, &target, value)?;
                    }
                }
            }
            _ if is_read_only(&target.path) => {}
            _ => aim(resource, verb, &target, value)?,
        }
    }
    Ok(())
}

fn change(
    of: ResourceType,
    resource: &mut Object,
    verb: Verb,
    (path, sent): (&str, &Value),
) -> Result<(), ScimProblem> {
    // Synchronised passwords are none of our business.
    if path.eq_ignore_ascii_case("password") {
        return Ok(());
    }
    let target = Target::parse(of, path).map_err(|problem| {
        let kind = match problem {
            FilterProblem::Unknown(_) => "invalidPath",
            FilterProblem::TooLarge | FilterProblem::Expected { .. } => "invalidFilter",
        };
        ScimProblem::bad(kind, format!("The path is not understood: {problem}"))
    })?;
    if is_read_only(&target.path) {
        return Err(ScimProblem::bad(
            "mutability",
            format!("{path} cannot be changed by clients"),
        ));
    }
    aim(resource, verb, &target, sent)
}

fn is_read_only(path: &Path) -> bool {
    let attributes = [path.attribute, path.part];
    attributes
        .into_iter()
        .flatten()
        .any(|attribute| attribute.mutability == Mutability::ReadOnly)
}

/// Finds what holds the attribute, and changes it there.
fn aim(resource: &mut Object, verb: Verb, target: &Target, sent: &Value) -> Result<(), ScimProblem> {
    let Some(extension) = target.path.extension else {
        return hit(resource, verb, target, sent);
    };
    let holder = resource
        .entry(extension.urn)
        .or_insert_with(|| Value::Object(Object::new()));
    let Value::Object(holder) = holder else {
        return Err(invalid(extension.urn, "an object"));
    };
    if target.path.attribute.is_some() {
        return hit(holder, verb, target, sent);
    }
    // All that the extension has.
    if verb != Verb::Add {
        holder.clear();
    }
    if verb != Verb::Remove {
        let parts = sent.as_object().ok_or_else(|| invalid(extension.urn, "an object"))?;
        for (name, value) in parts {
            if let Some(attribute) = super::schema::named(extension.attributes, name) {
                put(holder, attribute.name, value::read_value(attribute, value)?);
            }
        }
    }
    Ok(())
}

fn hit(holder: &mut Object, verb: Verb, target: &Target, sent: &Value) -> Result<(), ScimProblem> {
    let Some(attribute) = target.path.attribute else {
        return Ok(());
    };
    if attribute.is_many {
        let mut values = match holder.remove(attribute.name) {
            Some(Value::Array(values)) => values,
            Some(_) | None => Vec::new(),
        };
        many(&mut values, verb, target, sent)?;
        holder.insert(attribute.name.to_owned(), Value::Array(values));
        return Ok(());
    }
    if target.filter.is_some() {
        return Err(ScimProblem::bad(
            "invalidPath",
            format!("{} has one value only: a filter picks nothing", attribute.name),
        ));
    }
    let sent = if verb == Verb::Remove { &Value::Null } else { sent };
    let Some(part) = target.path.part else {
        let value = value::read_value(attribute, sent)?;
        match (holder.get_mut(attribute.name), value) {
            // Parts that are not named stay (RFC 7644 §3.5.2.3).
            (Some(Value::Object(known)), Some(Value::Object(parts))) => known.extend(parts),
            (_, value) => put(holder, attribute.name, value),
        }
        return Ok(());
    };
    let value = value::read_value(part, sent)?;
    let known = holder
        .entry(attribute.name)
        .or_insert_with(|| Value::Object(Object::new()));
    if let Value::Object(known) = known {
        put(known, part.name, value);
    }
    Ok(())
}

/// Changes an attribute that has many values.
fn many(values: &mut Vec<Value>, verb: Verb, target: &Target, sent: &Value) -> Result<(), ScimProblem> {
    let Some(attribute) = target.path.attribute else {
        return Ok(());
    };
    let is_picked = |value: &Value| match (&target.filter, value) {
        (None, _) => true,
        (Some(filter), Value::Object(value)) => filter.fits(value),
        (Some(_), _) => false,
    };
    if let Some(part) = target.path.part {
        let sent = if verb == Verb::Remove { &Value::Null } else { sent };
        let value = value::read_value(part, sent)?;
        let mut is_done = false;
        for one in values.iter_mut().filter(|value| is_picked(value)) {
            if let Value::Object(one) = one {
                put(one, part.name, value.clone());
                is_done = true;
            }
        }
        if let Some(value) = value.filter(|_| !is_done) {
            let mut made = made(target.filter.as_ref())?;
            made.insert(part.name.to_owned(), value);
            values.push(Value::Object(made));
        }
        // What says only what it is for says nothing.
        values.retain(|value| {
            value
                .as_object()
                .is_none_or(|one| one.keys().any(|name| name != "type" && name != "primary"))
        });
        return Ok(());
    }
    match (verb, &target.filter) {
        (Verb::Remove, None) => {
            // Entra ID names the members to remove in the value.
            let named = value::read_value(attribute, sent)?;
            match named.as_ref().and_then(Value::as_array) {
                Some(named) => {
                    let named: HashSet<&Value> = named.iter().map(|one| &one["value"]).collect();
                    values.retain(|value| !named.contains(&value["value"]));
                }
                None => values.clear(),
            }
        }
        (Verb::Remove, Some(_)) => values.retain(|value| !is_picked(value)),
        (Verb::Replace, None) => *values = read_many(attribute, sent)?,
        (Verb::Add, None) => {
            let known: HashSet<String> = values.iter().map(Value::to_string).collect();
            let added = read_many(attribute, sent)?;
            values.extend(added.into_iter().filter(|value| !known.contains(&value.to_string())));
        }
        (Verb::Add | Verb::Replace, Some(filter)) => {
            let Some(Value::Object(parts)) = value::read_one(attribute, sent)? else {
                values.retain(|value| !is_picked(value));
                return Ok(());
            };
            let mut is_done = false;
            for one in values.iter_mut().filter(|value| is_picked(value)) {
                if let Value::Object(one) = one {
                    if verb == Verb::Replace {
                        one.clear();
                    }
                    one.extend(parts.clone());
                    is_done = true;
                }
            }
            if !is_done {
                let mut made = made(Some(filter))?;
                made.extend(parts);
                values.push(Value::Object(made));
            }
        }
    }
    Ok(())
}

fn read_many(attribute: &'static super::schema::Attribute, sent: &Value) -> Result<Vec<Value>, ScimProblem> {
    Ok(match value::read_value(attribute, sent)? {
        Some(Value::Array(values)) => values,
        Some(_) | None => Vec::new(),
    })
}

/// A value as a filter wants it, where none is: `emails[type eq "work"].value` of somebody who has no e-mail address yet.
fn made(filter: Option<&Filter>) -> Result<Object, ScimProblem> {
    match filter {
        None => Ok(Object::new()),
        Some(filter) => filter.as_value().ok_or_else(|| {
            ScimProblem::bad(
                "noTarget",
                "The path picks no value, and does not say what a new one would be",
            )
        }),
    }
}

fn put(holder: &mut Object, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(holder.insert(name.to_owned(), value)),
        None => drop(holder.remove(name)),
    }
}

fn invalid(name: &str, wanted: &str) -> ScimProblem {
    ScimProblem::bad("invalidValue", format!("{name} is to be {wanted}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::schema::{EMPLOYMENT, ENTERPRISE},
        *,
    };

    fn object(value: Value) -> Object {
        value.as_object().expect("an object").clone()
    }

    fn ada() -> Object {
        object(json!({
            "userName": "ada", "displayName": "Ada Rossi", "active": true, "title": "Cashier", "name": {"givenName": "Ada", "familyName": "Rossi"},
            "emails": [{"type": "work", "value": "ada@acme.example", "primary": true}, {"type": "home", "value": "ada@home.example"}],
            ENTERPRISE: {"department": "Sales", "manager": {"value": "7"}},
        }))
    }

    fn patched(operations: Value) -> Result<Object, ScimProblem> {
        let request = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        apply(ResourceType::User, &ada(), &request)
    }

    #[track_caller]
    fn changes(operations: Value, expected: Value) {
        let changed = patched(operations.clone()).unwrap_or_else(|problem| panic!("{operations}: {problem:?}"));
        let mut wanted = ada();
        for (name, value) in object(expected) {
            match value {
                Value::Null => drop(wanted.remove(&name)),
                value => drop(wanted.insert(name, value)),
            }
        }
        assert_eq!(Value::Object(changed), Value::Object(wanted), "{operations}");
    }

    /// As they were seen on the wire (facts/connectors.md A3).
    #[test]
    fn okta_and_entra_are_understood() {
        // Okta switches somebody off.
        changes(
            json!([{"op": "replace", "value": {"active": false}}]),
            json!({"active": false}),
        );
        // Entra ID, as it is by default.
        changes(
            json!([{"op": "Replace", "path": "active", "value": "False"}]),
            json!({"active": false}),
        );
        changes(
            json!([
                {"op": "Replace", "path": "displayName", "value": "Ada Bianchi"},
                {"op": "Replace", "path": "name.familyName", "value": "Bianchi"},
                {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "bianchi@acme.example"},
                {"op": "Add", "path": "phoneNumbers[type eq \"work\"].value", "value": "+39 011 1"},
                {"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "Stores"},
                {"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager", "value": "9"},
            ]),
            json!({
                "displayName": "Ada Bianchi",
                "name": {"givenName": "Ada", "familyName": "Bianchi"},
                "emails": [{"type": "work", "value": "bianchi@acme.example", "primary": true}, {"type": "home", "value": "ada@home.example"}],
                "phoneNumbers": [{"type": "work", "value": "+39 011 1"}],
                ENTERPRISE: {"department": "Stores", "manager": {"value": "9"}},
            }),
        );
        changes(
            json!([{"op": "Remove", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"}, {"op": "Remove", "path": "title"}]),
            json!({ENTERPRISE: {"department": "Sales"}, "title": null}),
        );
        // Entra ID with aadOptscim062020: no path, and names with dots.
        changes(
            json!([{"op": "replace", "value": {"displayName": "Ada Bianchi", "name.familyName": "Bianchi", "active": false,
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber": "1007",
                "urn:ietf:params:scim:schemas:extension:tenure:2.0:User:startDate": "2024-03-01T00:00:00Z"}}]),
            json!({"displayName": "Ada Bianchi", "name": {"givenName": "Ada", "familyName": "Bianchi"}, "active": false,
                ENTERPRISE: {"department": "Sales", "manager": {"value": "7"}, "employeeNumber": "1007"},
                EMPLOYMENT: {"startDate": "2024-03-01T00:00:00Z"}}),
        );
        // Whole extensions, and a manager with braces.
        changes(
            json!([{"op": "add", "value": {ENTERPRISE: {"manager": {"value": "9", "displayName": "Bo"}}}}]),
            json!({ENTERPRISE: {"department": "Sales", "manager": {"value": "9"}}}),
        );
        changes(json!([{"op": "remove", "path": ENTERPRISE}]), json!({ENTERPRISE: null}));
        // What is not known here changes nothing.
        changes(
            json!([{"op": "replace", "path": "password", "value": "secret"}, {"op": "replace", "value": {"id": "1", "groups": [], "shoeSize": 44}}]),
            json!({}),
        );
    }

    #[test]
    fn the_rules_of_the_standard_hold() {
        // Added values come beside the others, once; a new primary one takes the place of the old.
        let home = json!({"type": "home", "value": "ada@home.example"});
        let other = json!({"type": "other", "value": "a@o.example", "primary": true});
        changes(
            json!([{"op": "add", "path": "emails", "value": [home, other]}]),
            json!({"emails": [{"type": "work", "value": "ada@acme.example", "primary": false}, home, other]}),
        );
        changes(
            json!([{"op": "replace", "path": "emails", "value": [other]}]),
            json!({"emails": [other]}),
        );
        changes(
            json!([{"op": "remove", "path": "emails[type eq \"home\"]"}]),
            json!({"emails": [ada()["emails"][0]]}),
        );
        changes(json!([{"op": "remove", "path": "emails"}]), json!({"emails": null}));
        changes(
            json!([{"op": "remove", "path": "emails[type eq \"home\"].value"}]),
            json!({"emails": [ada()["emails"][0]]}),
        );
        changes(
            json!([{"op": "replace", "path": "name", "value": {"givenName": "Eva"}}]),
            json!({"name": {"givenName": "Eva", "familyName": "Rossi"}}),
        );
        for (operation, kind) in [
            (json!({"op": "move", "path": "title"}), "invalidSyntax"),
            (json!({"op": "remove"}), "noTarget"),
            (json!({"op": "replace", "path": "shoeSize", "value": 44}), "invalidPath"),
            (
                json!({"op": "replace", "path": "emails[type eq", "value": "x"}),
                "invalidFilter",
            ),
            (
                json!({"op": "replace", "path": "emails[type ne \"work\" and value pr].display", "value": ["x"]}),
                "invalidValue",
            ),
            (
                json!({"op": "replace", "path": "ims[type ne \"work\"].value", "value": "x"}),
                "noTarget",
            ),
            (json!({"op": "replace", "path": "groups", "value": []}), "mutability"),
            (
                json!({"op": "replace", "path": "meta.created", "value": "x"}),
                "mutability",
            ),
            (
                json!({"op": "replace", "path": "active", "value": "maybe"}),
                "invalidValue",
            ),
            (json!({"op": "remove", "path": "userName"}), "invalidValue"),
            (json!({"op": "replace", "value": "x"}), "invalidValue"),
            (
                json!({"op": "add", "path": "urn:ietf:params:scim:schemas:extension:tenure:2.0:User:startDate", "value": "soon"}),
                "invalidValue",
            ),
        ] {
            let problem = patched(json!([operation])).expect_err("refused");
            assert_eq!(problem.kind, Some(kind), "{operation}: {}", problem.detail);
        }
        let half = json!([{"op": "remove", "path": "title"}, {"op": "replace", "path": "shoeSize", "value": 44}]);
        assert!(patched(half).is_err(), "all or none");
    }

    #[test]
    fn members_come_and_go_as_okta_and_entra_have_it() {
        let group =
            object(json!({"displayName": "Tellers", "members": [{"value": "1"}, {"value": "2"}, {"value": "3"}]}));
        let patched = |operation: Value| apply(ResourceType::Group, &group, &json!({"Operations": [operation]}));
        let members = |operation: Value| {
            let changed = patched(operation.clone()).unwrap_or_else(|problem| panic!("{operation}: {problem:?}"));
            let members = changed
                .get("members")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            members
                .iter()
                .map(|one| one["value"].as_str().unwrap_or("?").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            members(json!({"op": "add", "path": "members", "value": [{"value": "2"}, {"value": "4", "display": "x"}]})),
            ["1", "2", "3", "4"]
        );
        assert_eq!(
            members(json!({"op": "remove", "path": "members[value eq \"2\"]"})),
            ["1", "3"]
        );
        assert_eq!(
            members(json!({"op": "Remove", "path": "members", "value": [{"value": "1"}, {"value": "3"}]})),
            ["2"]
        );
        assert_eq!(
            members(json!({"op": "remove", "path": "members"})),
            Vec::<String>::new()
        );
        assert_eq!(
            members(json!({"op": "replace", "path": "members", "value": [{"value": "9"}]})),
            ["9"]
        );
        let renamed =
            patched(json!({"op": "replace", "value": {"id": "7", "displayName": "Cashiers"}})).expect("renamed");
        assert_eq!(
            (renamed["displayName"].as_str(), renamed.contains_key("id")),
            (Some("Cashiers"), false)
        );
    }
}
