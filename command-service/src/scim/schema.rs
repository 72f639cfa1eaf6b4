//! The attributes of users and groups (RFC 7643 §3.1, §4, §8.7), the enterprise extension, and Tenure's own.

use serde_json::{Map, Value, json};

pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// What an employment needs and SCIM has no word for. The form of the name is the one that Entra ID takes for attributes of one's own.
pub const EMPLOYMENT: &str = "urn:ietf:params:scim:schemas:extension:tenure:2.0:User";

/// One attribute, as `/Schemas` tells of it.
#[derive(Debug)]
pub struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    pub is_many: bool,
    pub is_required: bool,
    /// Whether upper and lower case differ.
    pub is_case_exact: bool,
    pub mutability: Mutability,
    pub is_unique: bool,
    /// Values that are usual; others may come.
    usual: &'static [&'static str],
    text: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Boolean,
    Decimal,
    /// A day or a moment: directories say days in both ways.
    Moment,
    /// Of a resource of one of these types; `external` is any address.
    Reference(&'static [&'static str]),
    Complex(&'static [Attribute]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    ReadWrite,
    ReadOnly,
    Immutable,
}

impl Attribute {
    const fn new(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self {
            name,
            kind,
            is_many: false,
            is_required: false,
            is_case_exact: false,
            mutability: Mutability::ReadWrite,
            is_unique: false,
            usual: &[],
            text,
        }
    }

    const fn text(name: &'static str, text: &'static str) -> Self {
        Self::new(name, Kind::Text, text)
    }

    const fn many(name: &'static str, parts: &'static [Self], text: &'static str) -> Self {
        let mut attribute = Self::new(name, Kind::Complex(parts), text);
        attribute.is_many = true;
        attribute
    }

    const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    const fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }

    const fn case_exact(mut self) -> Self {
        self.is_case_exact = true;
        self
    }

    const fn usually(mut self, values: &'static [&'static str]) -> Self {
        self.usual = values;
        self
    }

    const fn with(mut self, mutability: Mutability) -> Self {
        self.mutability = mutability;
        self
    }

    /// Its parts; none of a simple one.
    #[must_use]
    pub const fn parts(&self) -> &'static [Self] {
        match self.kind {
            Kind::Complex(parts) => parts,
            Kind::Text | Kind::Boolean | Kind::Decimal | Kind::Moment | Kind::Reference(_) => &[],
        }
    }

    fn described(&self) -> Value {
        let (kind, references): (&str, &[&str]) = match self.kind {
            Kind::Text => ("string", &[]),
            Kind::Boolean => ("boolean", &[]),
            Kind::Decimal => ("decimal", &[]),
            Kind::Moment => ("dateTime", &[]),
            Kind::Reference(of) => ("reference", of),
            Kind::Complex(_) => ("complex", &[]),
        };
        let mut described = json!({
            "name": self.name,
            "type": kind,
            "multiValued": self.is_many,
            "description": self.text,
            "required": self.is_required,
            "caseExact": self.is_case_exact,
            "mutability": match self.mutability {
                Mutability::ReadWrite => "readWrite",
                Mutability::ReadOnly => "readOnly",
                Mutability::Immutable => "immutable",
            },
            "returned": "default",
            "uniqueness": if self.is_unique { "server" } else { "none" },
        });
        if !self.usual.is_empty() {
            described["canonicalValues"] = json!(self.usual);
        }
        if !references.is_empty() {
            described["referenceTypes"] = json!(references);
        }
        if !self.parts().is_empty() {
            described["subAttributes"] = self.parts().iter().map(Self::described).collect();
        }
        described
    }
}

const fn text(name: &'static str, text: &'static str) -> Attribute {
    Attribute::text(name, text)
}

const TYPE: Attribute = text("type", "What it is for").usually(&["work", "home", "mobile", "other"]);
const DISPLAY: Attribute = text("display", "For people to read");
const PRIMARY: Attribute = Attribute::new(
    "primary",
    Kind::Boolean,
    "Whether it is the preferred one, of which there is one at most",
);

const NAME: [Attribute; 6] = [
    text("formatted", "The whole name, for people to read"),
    text("familyName", "The family name"),
    text("givenName", "The given name"),
    text("middleName", "The middle names"),
    text("honorificPrefix", "Titles before the name"),
    text("honorificSuffix", "Titles behind the name"),
];

const VALUES: [Attribute; 4] = [text("value", "The value"), DISPLAY, TYPE, PRIMARY];

const ADDRESS: [Attribute; 8] = [
    text("formatted", "The whole address, for people to read"),
    text("streetAddress", "Street and number"),
    text("locality", "City: where somebody works, of a work address"),
    text("region", "State or region"),
    text("postalCode", "Postal code"),
    text("country", "ISO 3166-1 alpha-2"),
    TYPE,
    PRIMARY,
];

const PHOTOS: [Attribute; 4] = [
    Attribute::new("value", Kind::Reference(&["external"]), "Where the picture is").case_exact(),
    DISPLAY,
    TYPE,
    PRIMARY,
];

const GROUPS_OF_USER: [Attribute; 3] = [
    text("value", "The group's id").with(Mutability::ReadOnly),
    Attribute::new("$ref", Kind::Reference(&["Group"]), "Where the group is")
        .case_exact()
        .with(Mutability::ReadOnly),
    text("type", "Always direct").with(Mutability::ReadOnly),
];

const USER_ATTRIBUTES: [Attribute; 19] = [
    text("userName", "What somebody signs in with, in any case")
        .required()
        .unique(),
    Attribute::new("name", Kind::Complex(&NAME), "The parts of the name"),
    text("displayName", "The name for people to read"),
    text("nickName", "How somebody is called: the preferred name"),
    Attribute::new("profileUrl", Kind::Reference(&["external"]), "A page about somebody").case_exact(),
    text("title", "The job title"),
    text("userType", "Such as employee or contractor"),
    text("preferredLanguage", "As in Accept-Language"),
    text("locale", "BCP 47"),
    text("timezone", "IANA time zone"),
    Attribute::new("active", Kind::Boolean, "Whether somebody works here"),
    Attribute::many(
        "emails",
        &VALUES,
        "Addresses; the one for work, else the primary one, counts",
    ),
    Attribute::many("phoneNumbers", &VALUES, "Numbers; those of type work and mobile count"),
    Attribute::many("ims", &VALUES, "Instant messaging"),
    Attribute::many("photos", &PHOTOS, "Pictures"),
    Attribute::many("addresses", &ADDRESS, "Postal addresses"),
    Attribute::many(
        "groups",
        &GROUPS_OF_USER,
        "The groups that somebody is in: changed through the groups",
    )
    .with(Mutability::ReadOnly),
    Attribute::many("entitlements", &VALUES, "Entitlements"),
    Attribute::many("roles", &VALUES, "Roles"),
];

const MANAGER: [Attribute; 3] = [
    text(
        "value",
        "The manager's id here; an externalId or a userName is understood, too",
    )
    .case_exact(),
    Attribute::new("$ref", Kind::Reference(&["User"]), "Where the manager is").case_exact(),
    text("displayName", "The manager's name").with(Mutability::ReadOnly),
];

const ENTERPRISE_ATTRIBUTES: [Attribute; 6] = [
    text("employeeNumber", "The number that the employer knows somebody by"),
    text("costCenter", "The cost centre"),
    text("organization", "The organisation"),
    text("division", "The division"),
    text("department", "The department"),
    Attribute::new("manager", Kind::Complex(&MANAGER), "The manager"),
];

const EMPLOYMENT_ATTRIBUTES: [Attribute; 3] = [
    Attribute::new(
        "startDate",
        Kind::Moment,
        "The first day of the employment. Without it somebody is an account here, and no employee",
    ),
    Attribute::new("endDate", Kind::Moment, "The last day of the employment"),
    Attribute::new("weeklyHours", Kind::Decimal, "Hours of work in a week"),
];

const MEMBER: [Attribute; 3] = [
    text("value", "The member's id")
        .case_exact()
        .with(Mutability::Immutable),
    Attribute::new("$ref", Kind::Reference(&["User", "Group"]), "Where the member is")
        .case_exact()
        .with(Mutability::Immutable),
    text("type", "What the member is")
        .usually(&["User", "Group"])
        .with(Mutability::Immutable),
];

const GROUP_ATTRIBUTES: [Attribute; 2] = [
    text("displayName", "The group's name").required(),
    Attribute::many("members", &MEMBER, "Who is in it"),
];

const META: [Attribute; 5] = [
    text("resourceType", "User or Group").case_exact(),
    Attribute::new("created", Kind::Moment, "When it was made"),
    Attribute::new("lastModified", Kind::Moment, "When it was changed last"),
    Attribute::new("location", Kind::Reference(&["external"]), "Where it is").case_exact(),
    text("version", "The entity tag").case_exact(),
];

/// What every resource has (RFC 7643 §3.1), and no schema lists.
const COMMON: [Attribute; 3] = [
    text("id", "The id here").case_exact().with(Mutability::ReadOnly),
    text("externalId", "The id there").case_exact(),
    Attribute::new("meta", Kind::Complex(&META), "About the resource").with(Mutability::ReadOnly),
];

/// A set of attributes with its name.
#[derive(Debug)]
pub struct Schema {
    pub urn: &'static str,
    name: &'static str,
    text: &'static str,
    pub attributes: &'static [Attribute],
}

impl Schema {
    /// As `/Schemas` has it (RFC 7643 §7).
    #[must_use]
    pub fn described(&self, base: &str) -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": self.urn,
            "name": self.name,
            "description": self.text,
            "attributes": self.attributes.iter().map(Attribute::described).collect::<Vec<_>>(),
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", self.urn)},
        })
    }
}

pub static SCHEMAS: [Schema; 4] = [
    Schema {
        urn: USER,
        name: "User",
        text: "A person's account",
        attributes: &USER_ATTRIBUTES,
    },
    Schema {
        urn: GROUP,
        name: "Group",
        text: "A group of accounts",
        attributes: &GROUP_ATTRIBUTES,
    },
    Schema {
        urn: ENTERPRISE,
        name: "Enterprise User",
        text: "Where somebody works",
        attributes: &ENTERPRISE_ATTRIBUTES,
    },
    Schema {
        urn: EMPLOYMENT,
        name: "Employment",
        text: "What makes an account an employee",
        attributes: &EMPLOYMENT_ATTRIBUTES,
    },
];

/// What kinds of resources there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceType {
    User,
    Group,
}

impl ResourceType {
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// It, and no other.
    #[must_use]
    pub const fn alone(self) -> &'static [Self] {
        match self {
            Self::User => &[Self::User],
            Self::Group => &[Self::Group],
        }
    }

    /// The last part of its addresses.
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    #[must_use]
    pub fn core(self) -> &'static Schema {
        match self {
            Self::User => &SCHEMAS[0],
            Self::Group => &SCHEMAS[1],
        }
    }

    #[must_use]
    pub fn extensions(self) -> &'static [Schema] {
        match self {
            Self::User => &SCHEMAS[2..],
            Self::Group => &[],
        }
    }

    /// An attribute of the resource itself, by its name in any case.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<&'static Attribute> {
        named(&COMMON, name).or_else(|| named(self.core().attributes, name))
    }

    /// As `/ResourceTypes` has it (RFC 7643 §6).
    #[must_use]
    pub fn described(self, base: &str) -> Value {
        let extensions = self.extensions().iter();
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": self.name(),
            "name": self.name(),
            "endpoint": format!("/{}", self.endpoint()),
            "description": self.core().text,
            "schema": self.core().urn,
            "schemaExtensions": extensions.map(|one| json!({"schema": one.urn, "required": false})).collect::<Vec<_>>(),
            "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", self.name())},
        })
    }
}

/// One of `attributes`, by its name in any case.
#[must_use]
pub fn named(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|one| one.name.eq_ignore_ascii_case(name))
}

/// What the server can do (RFC 7643 §5).
#[must_use]
pub fn service_provider_config(base: &str, results_max: usize) -> Value {
    let unsupported = || json!({"supported": false});
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": results_max},
        "changePassword": unsupported(),
        "sort": unsupported(),
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token that connecting answered",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

/// What a value is looked up in: an object's member by its name.
pub type Object = Map<String, Value>;
