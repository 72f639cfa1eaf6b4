//! What a client sends, in this server's names and kinds.

use serde_json::Value;

use super::{
    problem::ScimProblem,
    schema::{self, Attribute, Kind, Mutability, Object, ResourceType},
};

/// The most values of one attribute, but for a group's members.
const VALUES_MAX: usize = 1_000;
/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Reads a whole resource. What clients cannot set (`id`, `meta`, a user's `groups`) and what is not known here (`password`) is left
/// out, as RFC 7644 §3.3 has it.
///
/// # Errors
/// When a value is not of its attribute's kind, or what is required is missing.
pub fn read(of: ResourceType, sent: &Value) -> Result<Object, ScimProblem> {
    let sent = sent
        .as_object()
        .ok_or_else(|| ScimProblem::bad("invalidSyntax", "The resource is to be a JSON object"))?;
    let mut resource = Object::new();
    for (name, value) in sent {
        if let Some(extension) = of.extensions().iter().find(|one| one.urn.eq_ignore_ascii_case(name)) {
            if let Some(parts) = object(extension.urn, extension.attributes, value)? {
                resource.insert(extension.urn.to_owned(), parts);
            }
        } else if let Some(attribute) = of.attribute(name)
            && attribute.mutability != Mutability::ReadOnly
            && let Some(value) = read_value(attribute, value)?
        {
            resource.insert(attribute.name.to_owned(), value);
        }
    }
    check(of, &resource)?;
    Ok(resource)
}

/// Whether everything that is required is there.
///
/// # Errors
/// When something is missing.
pub fn check(of: ResourceType, resource: &Object) -> Result<(), ScimProblem> {
    for attribute in of.core().attributes.iter().filter(|one| one.is_required) {
        let value = resource.get(attribute.name).and_then(Value::as_str);
        if value.is_none_or(|value| value.trim().is_empty()) {
            let name = attribute.name;
            return Err(ScimProblem::bad("invalidValue", format!("{name} is required")));
        }
    }
    Ok(())
}

/// A value of an attribute; none if it is unassigned (`null`, no elements).
///
/// # Errors
/// When it is not of the attribute's kind.
pub fn read_value(attribute: &'static Attribute, sent: &Value) -> Result<Option<Value>, ScimProblem> {
    if !attribute.is_many {
        return read_one(attribute, sent);
    }
    let sent = match sent {
        Value::Array(elements) => elements.as_slice(),
        // One element without its brackets is understood, too.
        other => std::slice::from_ref(other),
    };
    let mut values = Vec::with_capacity(sent.len());
    for element in sent {
        values.extend(read_one(attribute, element)?);
    }
    Ok(if values.is_empty() {
        None
    } else {
        Some(Value::Array(values))
    })
}

/// One value, also of an attribute that has many.
///
/// # Errors
/// When it is not of the attribute's kind.
pub fn read_one(attribute: &'static Attribute, sent: &Value) -> Result<Option<Value>, ScimProblem> {
    let wrong = |wanted: &str| {
        let name = attribute.name;
        Err(ScimProblem::bad("invalidValue", format!("{name} is to be {wanted}")))
    };
    match (attribute.kind, sent) {
        (_, Value::Null) => Ok(None),
        (Kind::Text | Kind::Reference(_), Value::String(text)) if text.len() <= TEXT_BYTES_MAX => {
            Ok(Some(Value::String(text.clone())))
        }
        (Kind::Text, Value::Number(number)) => Ok(Some(Value::String(number.to_string()))),
        (Kind::Text | Kind::Reference(_), _) => wrong("a text"),
        (Kind::Boolean, Value::Bool(_)) => Ok(Some(sent.clone())),
        // Entra ID says "False".
        (Kind::Boolean, Value::String(word)) if word.eq_ignore_ascii_case("true") => Ok(Some(Value::Bool(true))),
        (Kind::Boolean, Value::String(word)) if word.eq_ignore_ascii_case("false") => Ok(Some(Value::Bool(false))),
        (Kind::Boolean, _) => wrong("true or false"),
        (Kind::Decimal, Value::Number(_)) => Ok(Some(sent.clone())),
        (Kind::Decimal, Value::String(text)) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number.into())),
            _ if text.trim().is_empty() => Ok(None),
            _ => wrong("a number"),
        },
        (Kind::Decimal, _) => wrong("a number"),
        (Kind::Moment, Value::String(text)) if text.trim().is_empty() => Ok(None),
        (Kind::Moment, Value::String(text)) if super::translate::day(text).is_some() => Ok(Some(sent.clone())),
        (Kind::Moment, _) => wrong("a day such as 2026-01-31, or a moment such as 2026-01-31T00:00:00Z"),
        (Kind::Complex(parts), Value::Object(_)) => object(attribute.name, parts, sent),
        // Entra ID says a manager without braces; a part that is called value is meant.
        (Kind::Complex(parts), Value::String(text)) if schema::named(parts, "value").is_some() => {
            Ok((!text.is_empty()).then(|| Value::Object([("value".to_owned(), sent.clone())].into_iter().collect())))
        }
        (Kind::Complex(_), _) => wrong("an object"),
    }
}

fn object(name: &str, parts: &'static [Attribute], sent: &Value) -> Result<Option<Value>, ScimProblem> {
    let sent = match sent {
        Value::Null => return Ok(None),
        Value::Object(sent) => sent,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(ScimProblem::bad("invalidValue", format!("{name} is to be an object")));
        }
    };
    let mut read = Object::new();
    for (name, value) in sent {
        if let Some(part) = schema::named(parts, name)
            && part.mutability != Mutability::ReadOnly
            && let Some(value) = read_value(part, value)?
        {
            read.insert(part.name.to_owned(), value);
        }
    }
    Ok(if read.is_empty() {
        None
    } else {
        Some(Value::Object(read))
    })
}

/// Brings a resource that was changed in order: nothing empty is left. Of a user, who was `before`, nothing is too much, and one value at most
/// is the primary one: of two the one that was not there before stays.
///
/// # Errors
/// When an attribute has too many values.
pub fn tidy(resource: &mut Object, before: Option<&Object>) -> Result<(), ScimProblem> {
    for (name, value) in resource.iter_mut() {
        let (Value::Array(values), Some(before)) = (value, before) else {
            continue;
        };
        if values.len() > VALUES_MAX {
            return Err(ScimProblem::bad(
                "invalidValue",
                format!("{name} has more than {VALUES_MAX} values"),
            ));
        }
        let known: &[Value] = before.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let is_primary = |value: &Value| value["primary"] == Value::Bool(true);
        let primary: Vec<usize> = (0..values.len()).filter(|&index| is_primary(&values[index])).collect();
        if primary.len() > 1 {
            let newest = primary.iter().rev().find(|&&index| !known.contains(&values[index]));
            let kept = newest.or(primary.last()).copied();
            for index in primary {
                if Some(index) != kept {
                    values[index]["primary"] = Value::Bool(false);
                }
            }
        }
    }
    resource.retain(|_, value| match value {
        Value::Array(values) => !values.is_empty(),
        Value::Object(parts) => !parts.is_empty(),
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    });
    Ok(())
}
