//! Filters and paths (RFC 7644 §3.4.2.2 and §3.5.2).

use chrono::DateTime;
use serde_json::Value;

use super::schema::{self, Attribute, Kind, Object, ResourceType, Schema};

/// The longest filter or path, in bytes.
pub const FILTER_BYTES_MAX: usize = 4 * 1024;
/// How deep brackets may be.
const DEPTH_MAX: usize = 16;

/// Why a filter or a path is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    #[error("it is longer than {FILTER_BYTES_MAX} bytes, or its brackets are too deep")]
    TooLarge,
    #[error("there is no attribute {0}")]
    Unknown(String),
    #[error("{wanted} is expected at {at}")]
    Expected { wanted: &'static str, at: String },
}

/// Whose attributes names mean.
#[derive(Clone, Copy)]
enum Names {
    Resource(ResourceType),
    /// Of the values of an attribute.
    Parts(&'static [Attribute]),
}

/// An attribute, or a part of one, or all that an extension has.
#[derive(Debug, Clone)]
pub struct Path {
    /// The extension that it is of.
    pub extension: Option<&'static Schema>,
    pub attribute: Option<&'static Attribute>,
    pub part: Option<&'static Attribute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Has(Path),
    Is {
        path: Path,
        operator: Operator,
        value: Value,
    },
    /// One value of the attribute is as the filter says.
    Within {
        path: Path,
        filter: Box<Filter>,
    },
}

/// What a change is aimed at: an attribute, of many values those that a filter picks, and perhaps a part of them.
#[derive(Debug, Clone)]
pub struct Target {
    pub path: Path,
    pub filter: Option<Filter>,
}

impl Path {
    /// Reads such as `userName`, `name.givenName`, `urn:…:User:manager.value`, or an extension's whole name.
    ///
    /// # Errors
    /// When there is no such attribute.
    pub fn parse(of: ResourceType, text: &str) -> Result<Self, FilterProblem> {
        Names::Resource(of).path(text)
    }

    /// What it says in `object`: each value by itself. Of a value with parts, its part `value` if there is one.
    fn values<'a>(&self, object: &'a Object) -> Vec<&'a Value> {
        let holder = match self.extension {
            Some(extension) => object.get(extension.urn).and_then(Value::as_object),
            None => Some(object),
        };
        let Some(attribute) = self.attribute else {
            return holder.map(Object::values).into_iter().flatten().collect();
        };
        let Some(value) = holder.and_then(|holder| holder.get(attribute.name)) else {
            return Vec::new();
        };
        let each = match value {
            Value::Array(values) => values.iter().collect(),
            one => vec![one],
        };
        let part = match self.part {
            Some(part) => part.name,
            None if schema::named(attribute.parts(), "value").is_some() => "value",
            None => return each,
        };
        each.into_iter().filter_map(|value| value.get(part)).collect()
    }

    /// Copies what it means from one resource to another.
    pub fn copy(&self, from: &Object, to: &mut Object) {
        if let Some(extension) = self.extension {
            let Some(Value::Object(held)) = from.get(extension.urn) else {
                return;
            };
            let entry = to.entry(extension.urn).or_insert_with(|| Value::Object(Object::new()));
            if let Value::Object(entry) = entry {
                match self.attribute {
                    None => entry.clone_from(held),
                    Some(attribute) => copy_part(attribute, self.part, held, entry),
                }
            }
        } else if let Some(attribute) = self.attribute {
            copy_part(attribute, self.part, from, to);
        }
    }

    /// Removes what it means.
    pub fn remove(&self, from: &mut Object) {
        let Some(attribute) = self.attribute else {
            if let Some(extension) = self.extension {
                from.remove(extension.urn);
            }
            return;
        };
        let holder = match self.extension {
            Some(extension) => from.get_mut(extension.urn).and_then(Value::as_object_mut),
            None => Some(from),
        };
        let Some(holder) = holder else { return };
        match (self.part, holder.get_mut(attribute.name)) {
            (None, _) => drop(holder.remove(attribute.name)),
            (Some(part), Some(Value::Object(value))) => drop(value.remove(part.name)),
            (Some(part), Some(Value::Array(values))) => {
                for value in values.iter_mut().filter_map(Value::as_object_mut) {
                    value.remove(part.name);
                }
            }
            (Some(_), Some(_) | None) => {}
        }
    }

    /// The attribute whose kind its values are of.
    fn last(&self) -> Option<&'static Attribute> {
        let attribute = self.attribute?;
        (self.part)
            .or_else(|| schema::named(attribute.parts(), "value"))
            .or(Some(attribute))
    }
}

fn copy_part(attribute: &Attribute, part: Option<&Attribute>, from: &Object, to: &mut Object) {
    let Some(value) = from.get(attribute.name) else { return };
    let Some(part) = part else {
        to.insert(attribute.name.to_owned(), value.clone());
        return;
    };
    let entry = to.entry(attribute.name);
    match value {
        Value::Object(value) => {
            let copied = entry.or_insert_with(|| Value::Object(Object::new()));
            if let (Some(value), Value::Object(copied)) = (value.get(part.name), copied) {
                copied.insert(part.name.to_owned(), value.clone());
            }
        }
        Value::Array(values) => {
            let copied = entry.or_insert_with(|| vec![Value::Object(Object::new()); values.len()].into());
            if let Value::Array(copied) = copied {
                for (value, copied) in values.iter().zip(copied) {
                    if let (Some(value), Value::Object(copied)) = (value.get(part.name), copied) {
                        copied.insert(part.name.to_owned(), value.clone());
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Names {
    fn path(self, text: &str) -> Result<Path, FilterProblem> {
        let unknown = || FilterProblem::Unknown(text.chars().take(100).collect());
        let (extension, rest) = match self {
            Self::Resource(of) => qualified(of, text).ok_or_else(unknown)?,
            Self::Parts(_) => (None, text),
        };
        if rest.is_empty() && extension.is_some() {
            return Ok(Path {
                extension,
                attribute: None,
                part: None,
            });
        }
        let (name, part) = match rest.split_once('.') {
            Some((name, part)) => (name, Some(part)),
            None => (rest, None),
        };
        let attribute = match (self, extension) {
            (_, Some(extension)) => schema::named(extension.attributes, name),
            (Self::Resource(of), None) => of.attribute(name),
            (Self::Parts(parts), None) => schema::named(parts, name),
        };
        let attribute = attribute.ok_or_else(unknown)?;
        let part = part.map(|part| schema::named(attribute.parts(), part).ok_or_else(unknown));
        Ok(Path {
            extension,
            attribute: Some(attribute),
            part: part.transpose()?,
        })
    }
}

/// The extension that a name begins with, and the rest of the name. Older Entra ID has a dot behind the extension.
fn qualified(of: ResourceType, text: &str) -> Option<(Option<&'static Schema>, &str)> {
    if !text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
        return Some((None, text));
    }
    let schemas = of.extensions().iter().map(|one| (one.urn, Some(one)));
    for (urn, extension) in schemas.chain([(of.core().urn, None)]) {
        let Some(rest) = text.get(urn.len()..).filter(|_| {
            text.get(..urn.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(urn))
        }) else {
            continue;
        };
        if rest.is_empty() {
            return Some((extension, rest));
        }
        if let Some(rest) = rest.strip_prefix([':', '.']) {
            return Some((extension, rest));
        }
    }
    None
}

impl Target {
    /// Reads such as `emails[type eq "work"].value`.
    ///
    /// # Errors
    /// When it is not understood.
    pub fn parse(of: ResourceType, text: &str) -> Result<Self, FilterProblem> {
        let text = text.trim();
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterProblem::TooLarge);
        }
        let Some((before, _)) = text.split_once('[') else {
            let path = Path::parse(of, text)?;
            return Ok(Self { path, filter: None });
        };
        let mut path = Path::parse(of, before)?;
        let mut reader = Reader::new(text, before.len() + 1);
        let parts = path.attribute.map_or(&[][..], Attribute::parts);
        let filter = reader.any(Names::Parts(parts), 0)?;
        reader.mark("]")?;
        if reader.takes(".") {
            let name = reader.word();
            let part = schema::named(parts, name).ok_or_else(|| FilterProblem::Unknown(name.to_owned()))?;
            path.part = Some(part);
        }
        reader.end()?;
        Ok(Self {
            path,
            filter: Some(filter),
        })
    }
}

impl Filter {
    /// Reads such as `userName eq "ada" and active eq true`.
    ///
    /// # Errors
    /// When it is not understood.
    pub fn parse(of: ResourceType, text: &str) -> Result<Self, FilterProblem> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterProblem::TooLarge);
        }
        let mut reader = Reader::new(text, 0);
        let filter = reader.any(Names::Resource(of), 0)?;
        reader.end()?;
        Ok(filter)
    }

    /// Whether `object` (a resource, or a value of an attribute) is as the filter says.
    #[must_use]
    pub fn fits(&self, object: &Object) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.fits(object)),
            Self::Any(filters) => filters.iter().any(|filter| filter.fits(object)),
            Self::Not(filter) => !filter.fits(object),
            Self::Has(path) => path.values(object).into_iter().any(is_something),
            Self::Is { path, operator, value } => {
                let values = path.values(object);
                let Some(attribute) = path.last() else { return false };
                let is = |operator| match value {
                    Value::Null => values.is_empty(),
                    _ => (values.iter()).any(|one| compares(attribute, one, operator, value)),
                };
                match operator {
                    Operator::Ne => !is(Operator::Eq),
                    operator => is(*operator),
                }
            }
            Self::Within { path, filter } => {
                let holder = match path.extension {
                    Some(extension) => object.get(extension.urn).and_then(Value::as_object),
                    None => Some(object),
                };
                let attribute = path.attribute.map(|attribute| attribute.name);
                match holder.zip(attribute).and_then(|(holder, name)| holder.get(name)) {
                    Some(Value::Array(values)) => values
                        .iter()
                        .any(|value| value.as_object().is_some_and(|value| filter.fits(value))),
                    Some(Value::Object(value)) => filter.fits(value),
                    _ => false,
                }
            }
        }
    }

    /// The text that an attribute of the resource must be equal to, if the filter says so whatever else it says.
    #[must_use]
    pub fn must_equal(&self, name: &str) -> Option<&str> {
        match self {
            Self::All(filters) => filters.iter().find_map(|filter| filter.must_equal(name)),
            Self::Is {
                path:
                    Path {
                        extension: None,
                        attribute: Some(attribute),
                        part: None,
                    },
                operator: Operator::Eq,
                value: Value::String(text),
            } if attribute.name == name => Some(text),
            Self::Any(_) | Self::Not(_) | Self::Has(_) | Self::Is { .. } | Self::Within { .. } => None,
        }
    }

    /// A value that fits, if the filter says what each of its parts is equal to.
    #[must_use]
    pub fn as_value(&self) -> Option<Object> {
        match self {
            Self::All(filters) => filters.iter().try_fold(Object::new(), |mut all, filter| {
                all.extend(filter.as_value()?);
                Some(all)
            }),
            Self::Is {
                path:
                    Path {
                        extension: None,
                        attribute: Some(attribute),
                        part: None,
                    },
                operator: Operator::Eq,
                value,
            } if !value.is_null() => {
                let value = super::value::read_one(attribute, value).ok()??;
                Some([(attribute.name.to_owned(), value)].into_iter().collect())
            }
            Self::Any(_) | Self::Not(_) | Self::Has(_) | Self::Is { .. } | Self::Within { .. } => None,
        }
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(parts) => !parts.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn compares(attribute: &Attribute, has: &Value, operator: Operator, wanted: &Value) -> bool {
    use std::cmp::Ordering;
    let by = |ordering: Option<Ordering>| match operator {
        Operator::Eq => ordering == Some(Ordering::Equal),
        Operator::Gt => ordering == Some(Ordering::Greater),
        Operator::Ge => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        Operator::Lt => ordering == Some(Ordering::Less),
        Operator::Le => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Operator::Ne | Operator::Co | Operator::Sw | Operator::Ew => false,
    };
    match (has, wanted) {
        (Value::Bool(has), Value::Bool(wanted)) => operator == Operator::Eq && has == wanted,
        // As Entra ID says it.
        (Value::Bool(has), Value::String(wanted)) => {
            operator == Operator::Eq && wanted.eq_ignore_ascii_case(if *has { "true" } else { "false" })
        }
        (Value::Number(has), Value::Number(wanted)) => by(has
            .as_f64()
            .zip(wanted.as_f64())
            .and_then(|(has, wanted)| has.partial_cmp(&wanted))),
        (Value::String(has), Value::String(wanted)) => {
            if matches!(attribute.kind, Kind::Moment)
                && let (Ok(has), Ok(wanted)) = (DateTime::parse_from_rfc3339(has), DateTime::parse_from_rfc3339(wanted))
            {
                return by(Some(has.cmp(&wanted)));
            }
            let folded = |text: &str| {
                if attribute.is_case_exact {
                    text.to_owned()
                } else {
                    text.to_lowercase()
                }
            };
            let (has, wanted) = (folded(has), folded(wanted));
            match operator {
                Operator::Co => has.contains(&wanted),
                Operator::Sw => has.starts_with(&wanted),
                Operator::Ew => has.ends_with(&wanted),
                Operator::Eq | Operator::Ne | Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le => {
                    by(Some(has.cmp(&wanted)))
                }
            }
        }
        _ => false,
    }
}

/// Reads from left to right.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    const fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expected(&self, wanted: &'static str) -> FilterProblem {
        let at = self.rest();
        let at = if at.is_empty() { "the end" } else { at };
        FilterProblem::Expected {
            wanted,
            at: at.chars().take(40).collect(),
        }
    }

    /// Whether `mark` comes next, which is then read.
    fn takes(&mut self, mark: &str) -> bool {
        let is_next = self.rest().starts_with(mark);
        if is_next {
            self.at += mark.len();
        }
        is_next
    }

    fn mark(&mut self, mark: &'static str) -> Result<(), FilterProblem> {
        self.skip_spaces();
        if self.takes(mark) {
            Ok(())
        } else {
            Err(self.expected(mark))
        }
    }

    fn end(&mut self) -> Result<(), FilterProblem> {
        self.skip_spaces();
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.expected("the end"))
        }
    }

    /// A name or a keyword.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | ':' | '_' | '-' | '$')))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Whether the keyword `word` comes next, which is then read.
    fn takes_word(&mut self, word: &str) -> bool {
        let before = self.at;
        self.skip_spaces();
        if self.word().eq_ignore_ascii_case(word) {
            return true;
        }
        self.at = before;
        false
    }

    fn any(&mut self, names: Names, depth: usize) -> Result<Filter, FilterProblem> {
        let first = self.all(names, depth)?;
        let mut filters = vec![first];
        while self.takes_word("or") {
            filters.push(self.all(names, depth)?);
        }
        Ok(one_or(filters, Filter::Any))
    }

    fn all(&mut self, names: Names, depth: usize) -> Result<Filter, FilterProblem> {
        let first = self.one(names, depth)?;
        let mut filters = vec![first];
        while self.takes_word("and") {
            filters.push(self.one(names, depth)?);
        }
        Ok(one_or(filters, Filter::All))
    }

    fn one(&mut self, names: Names, depth: usize) -> Result<Filter, FilterProblem> {
        if depth > DEPTH_MAX {
            return Err(FilterProblem::TooLarge);
        }
        self.skip_spaces();
        if self.takes("(") {
            let filter = self.any(names, depth + 1)?;
            self.mark(")")?;
            return Ok(filter);
        }
        let before = self.at;
        let word = self.word();
        if word.eq_ignore_ascii_case("not") {
            self.skip_spaces();
            if self.takes("(") {
                let filter = self.any(names, depth + 1)?;
                self.mark(")")?;
                return Ok(Filter::Not(Box::new(filter)));
            }
        }
        if word.is_empty() {
            self.at = before;
            return Err(self.expected("an attribute"));
        }
        let path = names.path(word)?;
        if self.takes("[") {
            let parts = path.attribute.map_or(&[][..], Attribute::parts);
            let filter = self.any(Names::Parts(parts), depth + 1)?;
            self.mark("]")?;
            let filter = Box::new(filter);
            return Ok(Filter::Within { path, filter });
        }
        self.comparison(path)
    }

    fn comparison(&mut self, path: Path) -> Result<Filter, FilterProblem> {
        self.skip_spaces();
        let before = self.at;
        let operator = match self.word().to_ascii_lowercase().as_str() {
            "pr" => return Ok(Filter::Has(path)),
            "eq" => Operator::Eq,
            "ne" => Operator::Ne,
            "co" => Operator::Co,
            "sw" => Operator::Sw,
            "ew" => Operator::Ew,
            "gt" => Operator::Gt,
            "ge" => Operator::Ge,
            "lt" => Operator::Lt,
            "le" => Operator::Le,
            _ => {
                self.at = before;
                return Err(self.expected("one of eq, ne, co, sw, ew, gt, ge, lt, le, pr"));
            }
        };
        self.skip_spaces();
        let value = self.value()?;
        Ok(Filter::Is { path, operator, value })
    }

    /// A JSON value that is no object or array.
    fn value(&mut self) -> Result<Value, FilterProblem> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) if !value.is_object() && !value.is_array() => {
                self.at += values.byte_offset();
                Ok(value)
            }
            // Entra ID and older clients write True.
            _ if self.takes_word("true") => Ok(Value::Bool(true)),
            _ if self.takes_word("false") => Ok(Value::Bool(false)),
            _ => Err(self.expected("a text in quotation marks, a number, true, false or null")),
        }
    }
}

fn one_or(mut filters: Vec<Filter>, of: fn(Vec<Filter>) -> Filter) -> Filter {
    if filters.len() == 1 {
        filters.remove(0)
    } else {
        of(filters)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ada() -> Object {
        let ada = json!({
            "id": "7", "userName": "Ada@acme.example", "externalId": "00uA", "active": true, "title": "Vice \"President\"",
            "name": {"familyName": "O'Malley", "givenName": "Ada"},
            "emails": [{"type": "work", "value": "ada@acme.example", "primary": true}, {"type": "home", "value": "ada@home.example"}],
            "meta": {"lastModified": "2026-05-13T04:42:34Z", "resourceType": "User"},
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Sales", "manager": {"value": "9"}},
            "urn:ietf:params:scim:schemas:extension:tenure:2.0:User": {"weeklyHours": 37.5},
        });
        ada.as_object().expect("an object").clone()
    }

    /// The examples of RFC 7644 §3.4.2.2, and what Okta and Entra ID send (facts/connectors.md A3).
    #[test]
    fn filters_pick_what_they_say() {
        for (filter, fits) in [
            (r#"userName eq "ada@ACME.example""#, true),
            (r#"USERNAME Eq "bo""#, false),
            (r#"externalId eq "00uA""#, true),
            (r#"externalId eq "00ua""#, false),
            (r#"name.familyName co "O'Malley""#, true),
            (r#"userName sw "A""#, true),
            (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "a""#, true),
            ("title pr", true),
            ("nickName pr", false),
            ("nickName eq null", true),
            ("title ne null", true),
            (r#"meta.lastModified gt "2011-05-13T04:42:34Z""#, true),
            (r#"meta.lastModified le "2026-05-13T06:42:34+02:00""#, true),
            (r#"meta.lastModified lt "2011-05-13T04:42:34Z""#, false),
            (r#"title pr and userType eq "Employee""#, false),
            (r#"title pr or userType eq "Intern""#, true),
            (r#"userName eq "x" or title pr and active eq True"#, true),
            (r#"(userName eq "x" or title pr) and active eq "false""#, false),
            (
                r#"userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")"#,
                true,
            ),
            (r#"emails[type eq "work" and value co "@acme.example"]"#, true),
            (
                r#"emails[type eq "home" and value co "@acme.example"] or ims[type eq "xmpp"]"#,
                false,
            ),
            (r#"emails eq "ada@home.example""#, true),
            (r#"emails[not (type eq "work")]"#, true),
            (r#"title eq "vice \"president\"""#, true),
            (
                r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "sales""#,
                true,
            ),
            (
                r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "9""#,
                true,
            ),
            (
                "urn:ietf:params:scim:schemas:extension:tenure:2.0:User:weeklyHours ge 37.5",
                true,
            ),
            (
                "urn:ietf:params:scim:schemas:extension:tenure:2.0:User:weeklyHours gt 37.5",
                false,
            ),
            ("active ne true", false),
            ("active gt false", false),
        ] {
            let read =
                Filter::parse(ResourceType::User, filter).unwrap_or_else(|problem| panic!("{filter}: {problem}"));
            assert_eq!(read.fits(&ada()), fits, "{filter}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let of = ResourceType::User;
        for (filter, says) in [
            ("", "an attribute is expected at the end"),
            ("shoeSize eq 44", "no attribute shoeSize"),
            ("name.shoe eq 44", "no attribute name.shoe"),
            ("userName is \"x\"", "one of eq, ne"),
            ("userName eq", "a text in quotation marks"),
            ("userName eq ada", "a text in quotation marks"),
            ("userName eq \"x", "a text in quotation marks"),
            ("userName eq \"x\" and", "an attribute is expected"),
            ("userName eq \"x\")", "the end is expected at )"),
            ("(userName eq \"x\"", ") is expected"),
            ("emails[type eq \"work\"", "] is expected"),
            ("userName eq {\"a\":1}", "a text in quotation marks"),
        ] {
            let problem = Filter::parse(of, filter).expect_err(filter).to_string();
            assert!(problem.contains(says), "{filter}: {problem}");
        }
        let deep = format!("{}title pr{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(Filter::parse(of, &deep).expect_err("deep"), FilterProblem::TooLarge);
        let long = format!("title eq \"{}\"", "x".repeat(FILTER_BYTES_MAX));
        assert_eq!(Filter::parse(of, &long).expect_err("long"), FilterProblem::TooLarge);
    }

    #[test]
    fn a_filter_says_what_an_index_can_serve() {
        let must = |filter: &str, name: &str| {
            let filter = Filter::parse(ResourceType::User, filter).expect("a filter");
            filter.must_equal(name).map(str::to_owned)
        };
        assert_eq!(must(r#"userName eq "a""#, "userName").as_deref(), Some("a"));
        assert_eq!(
            must(r#"active eq true and userName eq "a""#, "userName").as_deref(),
            Some("a")
        );
        for other in [
            r#"userName eq "a" or title pr"#,
            r#"not (userName eq "a")"#,
            r#"userName co "a""#,
        ] {
            assert_eq!(must(other, "userName"), None, "{other}");
        }
    }
}
