//! Accounts and groups, kept for identity providers. What an account says of an employee goes into the outbox in the transaction that
//! keeps the account, and so into the log once, in the order in which it was said.

use std::collections::{HashMap, HashSet};

use axum::http::StatusCode;
use chrono::SecondsFormat;
use domain::{
    Kind as StreamKind, StreamId, Timestamp,
    employee::{self, Snapshot, Source},
    id::{CommandId, ConnectionId, EmployeeId, TenantId},
};
use infra::{
    clock,
    database::{Access, Connection, DatabaseError},
    outbox::{self, Outgoing},
    scim::{self, Claim, Kind, Scope, Stored, Which, Written},
    sealing::{self, NewSubjectKey, SealingError, SubjectKey, TenantKeys},
};
use schemas::codec::AnyCommand;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    filter::{Filter, Path},
    patch,
    problem::ScimProblem,
    schema::{Object, ResourceType},
    translate::{Account, Manager},
    value,
};
use crate::{CommandService, connections::Live, intake, problem::Problem};

/// The most resources of one answer.
pub const RESULTS_MAX: usize = 200;
/// How many an answer has unless said otherwise.
pub const RESULTS_DEFAULT: usize = 100;
/// The most members of a group.
const MEMBERS_MAX: usize = 200_000;
/// How many resources are looked through for a filter that no index serves.
const SCAN_MAX: usize = 200_000;
const SCAN_BATCH: i64 = 500;
/// How often a change is tried that others are faster than.
const ATTEMPTS_MAX: usize = 5;
/// How many people are told again in one request because their manager came; the next one goes on.
const TOLD_AGAIN_MAX: i64 = 1_000;
/// How many addresses of other sources are looked at in one go.
const ADDRESSES_BATCH: i64 = 5_000;

/// What one identity provider keeps here.
pub struct Resources<'a> {
    service: &'a CommandService,
    live: &'a Live,
}

/// A resource, as it is kept.
#[derive(Clone)]
pub struct Resource {
    of: ResourceType,
    id: Uuid,
    version: i64,
    created_at: Timestamp,
    modified_at: Timestamp,
    /// The employee of another source whom an account belongs to.
    employee: Option<Uuid>,
    /// With a group's `members`, or the `groups` of a user.
    body: Object,
}

/// Which resources are listed.
pub struct Listing {
    pub filter: Option<Filter>,
    /// How many come before the page.
    pub skipped: usize,
    /// How many the page has at most.
    pub count: usize,
    /// Whether nobody asks who is in groups.
    pub without_members: bool,
}

/// What is done to a resource.
pub enum Change {
    Create(Value),
    Replace(Value),
    Patch(Value),
}

/// What a resource holds before it is sealed.
enum Content {
    User(Box<Account>),
    Group(Object),
}

/// How a transaction came out.
enum Outcome {
    Done,
    /// Somebody else was faster.
    Overtaken,
    NameTaken,
    OwnManager,
    UnknownMember(Uuid),
}

/// All that a transaction needs.
struct Work {
    scope: Scope,
    id: Uuid,
    /// The version that is replaced; none of a new one.
    replaces: Option<i64>,
    written: Written,
    new_key: Option<NewSubjectKey>,
    /// Of a user, for the log.
    telling: Option<Telling>,
    /// Of a group.
    members: Option<Vec<Uuid>>,
    /// Digests of what others may call this user as their manager, and whether they are news.
    called: (Vec<Vec<u8>>, bool),
}

struct Telling {
    account: Account,
    email: Option<String>,
    /// The employee of another source whom it belonged to.
    known: Option<Uuid>,
    /// Whether it was told as an employee of its own.
    was_told: bool,
    manager: Option<(Option<Uuid>, Vec<u8>)>,
    keys: std::sync::Arc<TenantKeys>,
    today: domain::Date,
}

impl Resource {
    /// The entity tag (RFC 7644 §3.14).
    #[must_use]
    pub fn tag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }

    #[must_use]
    pub fn location(&self, base: &str) -> String {
        format!("{base}/{}/{}", self.of.endpoint(), self.id)
    }

    /// As clients see it.
    #[must_use]
    pub fn document(&self, base: &str) -> Object {
        let mut schemas = vec![self.of.core().urn];
        let extensions = self.of.extensions().iter().map(|one| one.urn);
        schemas.extend(extensions.filter(|urn| self.body.contains_key(*urn)));
        let mut document = Object::new();
        document.insert("schemas".to_owned(), json!(schemas));
        document.insert("id".to_owned(), json!(self.id));
        document.extend(self.body.clone());
        for name in ["members", "groups"] {
            if let Some(Value::Array(values)) = document.get_mut(name) {
                for value in values {
                    let endpoint = if value["type"] == "User" { "Users" } else { "Groups" };
                    let id = value["value"].as_str().unwrap_or_default();
                    value["$ref"] = format!("{base}/{endpoint}/{id}").into();
                }
            }
        }
        let moment = |at: Timestamp| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let meta = json!({
            "resourceType": self.of.name(),
            "created": moment(self.created_at),
            "lastModified": moment(self.modified_at),
            "location": self.location(base),
            "version": self.tag(),
        });
        document.insert("meta".to_owned(), meta);
        document
    }

    /// Whether a precondition holds: a list of entity tags, or `*`.
    #[must_use]
    pub fn is_one_of(&self, tags: &str) -> bool {
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        tags.split(',')
            .any(|tag| tag.trim() == "*" || strong(tag) == self.version.to_string())
    }
}

/// What is left of a document of which only some attributes are wanted (RFC 7644 §3.9).
#[must_use]
pub fn select(of: ResourceType, mut document: Object, wanted: Option<&str>, unwanted: Option<&str>) -> Object {
    let paths = |list: &str| -> Vec<Path> {
        list.split(',')
            .filter_map(|name| Path::parse(of, name.trim()).ok())
            .collect()
    };
    if let Some(wanted) = wanted {
        let mut selected = Object::new();
        for path in paths(wanted) {
            path.copy(&document, &mut selected);
        }
        for always in ["schemas", "id"] {
            if let Some(value) = document.remove(always) {
                selected.insert(always.to_owned(), value);
            }
        }
        return selected;
    }
    for path in unwanted.map(paths).unwrap_or_default() {
        if path.attribute.is_none_or(|attribute| attribute.name != "id") {
            path.remove(&mut document);
        }
    }
    document
}

impl<'a> Resources<'a> {
    #[must_use]
    pub const fn new(service: &'a CommandService, live: &'a Live) -> Self {
        Self { service, live }
    }

    const fn scope(&self) -> Scope {
        (self.live.tenant, self.live.id)
    }

    fn place(&self, id: Uuid) -> String {
        place(self.live.id, id)
    }

    fn digest(&self, text: &str) -> Vec<u8> {
        let text = format!("{}|{}", self.live.id, text.to_lowercase());
        self.service.keyring.digest(self.live.tenant, &text)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> futures_util::future::BoxFuture<'c, Result<T, DatabaseError>>
        + Send
        + 'static,
    ) -> Result<T, ScimProblem> {
        let tenants = [self.live.tenant];
        let read = self.service.database.transact(Access::Read, &tenants, work).await;
        Ok(read.map_err(Problem::from)?)
    }

    async fn found(&self, of: ResourceType, which: Which, page: (i64, i64)) -> Result<Vec<Stored>, ScimProblem> {
        let (scope, kind) = (self.scope(), kind(of));
        self.read(move |c| Box::pin(scim::find(c, scope, (kind, which), page)))
            .await
    }

    /// One resource.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get(&self, of: ResourceType, id: Uuid) -> Result<Resource, ScimProblem> {
        let stored = self.found(of, Which::Id(id), (0, 1)).await?;
        let mut opened = self.opened(of, stored, false).await?;
        opened.pop().map(|(resource, _)| resource).ok_or_else(|| not_there(of))
    }

    /// Opens resources; those whose key is gone are left out.
    async fn opened(
        &self,
        of: ResourceType,
        stored: Vec<Stored>,
        without_members: bool,
    ) -> Result<Vec<(Resource, Content)>, ScimProblem> {
        let (scope, keyring) = (self.scope(), &self.service.keyring);
        let ids: Vec<Uuid> = stored.iter().map(|one| one.id).collect();
        let mut related: HashMap<Uuid, Vec<Value>> = HashMap::new();
        let mut contents: Vec<Option<Content>> = Vec::with_capacity(stored.len());
        match of {
            ResourceType::User => {
                let memberships = {
                    let ids = ids.clone();
                    self.read(move |c| Box::pin(async move { scim::memberships(c, scope, &ids).await }))
                        .await?
                };
                for (user, group) in memberships {
                    let group = json!({"value": group, "type": "direct"});
                    related.entry(user).or_default().push(group);
                }
                let subjects: Vec<_> = ids.iter().map(|&id| (scope.0, self.subject(id).uuid())).collect();
                let keys = keyring.subjects(&subjects).await.map_err(sealing_problem)?;
                for (one, subject) in stored.iter().zip(&subjects) {
                    let open = || {
                        let plain = keys.get(subject)?.open_bytes(&self.place(one.id), &one.content).ok()?;
                        serde_json::from_slice(&plain).ok()
                    };
                    contents.push(open().map(|account| Content::User(Box::new(account))));
                }
            }
            ResourceType::Group => {
                if !without_members {
                    let members = self
                        .read(move |c| Box::pin(async move { scim::members(c, scope, &ids).await }))
                        .await?;
                    for (group, member, is_group) in members {
                        let kind = if is_group { "Group" } else { "User" };
                        let member = json!({"value": member, "type": kind});
                        related.entry(group).or_default().push(member);
                    }
                }
                let keys = keyring.tenant(scope.0).await.map_err(sealing_problem)?;
                for one in &stored {
                    let plain = keys.open(&self.place(one.id), &one.content).map_err(sealing_problem)?;
                    contents.push(serde_json::from_slice(&plain).ok().map(Content::Group));
                }
            }
        }
        let mut opened = Vec::with_capacity(stored.len());
        for (one, content) in stored.into_iter().zip(contents) {
            let Some(content) = content else { continue };
            let mut body = match &content {
                Content::User(account) => account.resource.clone(),
                Content::Group(group) => group.clone(),
            };
            if let Some(values) = related.remove(&one.id) {
                let name = match of {
                    ResourceType::User => "groups",
                    ResourceType::Group => "members",
                };
                body.insert(name.to_owned(), Value::Array(values));
            }
            let resource = Resource {
                of,
                id: one.id,
                version: one.version,
                created_at: one.created_at,
                modified_at: one.modified_at,
                employee: one.employee,
                body,
            };
            opened.push((resource, content));
        }
        Ok(opened)
    }

    /// How many resources there are, and a page of them.
    ///
    /// # Errors
    /// When a filter that no index serves would have to look through too many.
    pub async fn list(
        &self,
        of: ResourceType,
        listing: Listing,
        base: &str,
    ) -> Result<(usize, Vec<Resource>), ScimProblem> {
        let (count, skipped) = (listing.count, listing.skipped);
        let Some(filter) = listing.filter else {
            let (scope, kind) = (self.scope(), kind(of));
            let total = self.read(move |c| Box::pin(scim::count(c, scope, kind))).await?;
            let page = (
                i64::try_from(skipped).unwrap_or(i64::MAX),
                i64::try_from(count).unwrap_or_default(),
            );
            let stored = self.found(of, Which::After(0), page).await?;
            let opened = self.opened(of, stored, listing.without_members).await?;
            let page = opened.into_iter().map(|(resource, _)| resource).collect();
            return Ok((usize::try_from(total).unwrap_or_default(), page));
        };
        let name = of.core().attributes[0].name;
        let one = if let Some(id) = filter.must_equal("id") {
            match id.parse() {
                Ok(id) => Some(Which::Id(id)),
                Err(_) => return Ok((0, Vec::new())),
            }
        } else if let Some(external) = filter.must_equal("externalId") {
            Some(Which::External(self.digest(external)))
        } else {
            filter.must_equal(name).map(|name| Which::Name(self.digest(name)))
        };
        let (mut total, mut page, mut seen, mut after) = (0, Vec::new(), 0, 0);
        loop {
            let which = one.clone().unwrap_or(Which::After(after));
            let stored = self.found(of, which, (0, SCAN_BATCH)).await?;
            let Some(last) = stored.last().map(|one| one.number) else {
                break;
            };
            after = last;
            seen += stored.len();
            for (resource, _) in self.opened(of, stored, false).await? {
                if filter.fits(&resource.document(base)) {
                    total += 1;
                    if total > skipped && page.len() < count {
                        page.push(resource);
                    }
                }
            }
            if one.is_some() {
                break;
            }
            if seen >= SCAN_MAX {
                let text =
                    format!("The filter would look through more than {SCAN_MAX}: ask by id, {name} or externalId");
                return Err(ScimProblem::bad("tooMany", text));
            }
        }
        Ok((total, page))
    }

    fn subject(&self, id: Uuid) -> EmployeeId {
        EmployeeId::derive(self.live.tenant, self.live.id, &id.to_string())
    }

    /// Makes or changes a resource. `tags` are those of which its own has to be one.
    ///
    /// # Errors
    /// When it is not there, is another one by now, or the change is not understood.
    pub async fn change(
        &self,
        of: ResourceType,
        (id, tags): (Uuid, Option<&str>),
        change: Change,
    ) -> Result<Resource, ScimProblem> {
        for _ in 0..ATTEMPTS_MAX {
            let known = match change {
                Change::Create(_) => None,
                Change::Replace(_) | Change::Patch(_) => Some(self.known(of, id, tags).await?),
            };
            let body = match (&change, &known) {
                (Change::Create(sent) | Change::Replace(sent), _) => value::read(of, sent)?,
                (Change::Patch(_), None) => return Err(not_there(of)),
                (Change::Patch(request), Some((resource, _))) => {
                    let (mut known, request) = (resource.body.clone(), Value::clone(request));
                    known.remove("groups");
                    // A group may have many members.
                    let patched = tokio::task::spawn_blocking(move || patch::apply(of, &known, &request));
                    patched.await.map_err(|error| Problem::internal(&error))??
                }
            };
            let work = self.work(of, id, (known.as_ref(), body)).await?;
            let Some(work) = work else {
                return known.map(|(resource, _)| resource).ok_or_else(|| not_there(of));
            };
            if self.done(of, work).await? {
                if of == ResourceType::User
                    && let Err(problem) = self.tell_again().await
                {
                    // They stay marked; what was asked for is done.
                    tracing::warn!(connection = %self.live.id, "people could not be told again yet: {}", problem.detail);
                }
                return self.get(of, id).await;
            }
        }
        Err(busy())
    }

    async fn known(&self, of: ResourceType, id: Uuid, tags: Option<&str>) -> Result<(Resource, Content), ScimProblem> {
        let stored = self.found(of, Which::Id(id), (0, 1)).await?;
        let known = self
            .opened(of, stored, false)
            .await?
            .pop()
            .ok_or_else(|| not_there(of))?;
        if tags.is_some_and(|tags| !known.0.is_one_of(tags)) {
            let text = "It has been changed since: read it again";
            return Err(ScimProblem::new(StatusCode::PRECONDITION_FAILED, text));
        }
        Ok(known)
    }

    /// What is to be written of any resource.
    fn begin(
        &self,
        of: ResourceType,
        (id, body): (Uuid, &Object),
        (replaces, version, at): (Option<i64>, i64, Timestamp),
    ) -> Work {
        let digest = |name: &str| body.get(name).and_then(Value::as_str).map(|text| self.digest(text));
        Work {
            scope: self.scope(),
            id,
            replaces,
            written: Written {
                kind: kind(of),
                subject: None,
                name_digest: digest(of.core().attributes[0].name).unwrap_or_default(),
                external_digest: digest("externalId"),
                manager_digest: None,
                email_digest: None,
                employee: None,
                tell_on: None,
                content: Vec::new(),
                version,
                at,
            },
            new_key: None,
            telling: None,
            members: None,
            called: (Vec::new(), false),
        }
    }

    /// What is to be written; nothing if nothing changes.
    async fn work(
        &self,
        of: ResourceType,
        id: Uuid,
        (known, mut body): (Option<&(Resource, Content)>, Object),
    ) -> Result<Option<Work>, ScimProblem> {
        let (replaces, today) = (known.map(|(resource, _)| resource.version), clock::today());
        let version = replaces.map_or(1, |version| version + 1);
        let mut work = self.begin(of, (id, &body), (replaces, version, clock::now()));
        match of {
            ResourceType::User => {
                let before = match known {
                    Some((_, Content::User(account))) => Some(&**account),
                    Some((_, Content::Group(_))) | None => None,
                };
                let account = Account::told(before, body, today)?;
                if before == Some(&account) {
                    return Ok(None);
                }
                let names = |resource: &Object| ["userName", "externalId"].map(|name| resource.get(name).cloned());
                let is_news = before.is_none_or(|before| names(&before.resource) != names(&account.resource));
                let before = before.map(|before| (before, known.and_then(|(resource, _)| resource.employee)));
                self.account(&mut work, (account, before, today)).await?;
                work.called.1 = is_news;
            }
            ResourceType::Group => {
                let members = members(&body)?;
                body.remove("members");
                let before = known.map(|(resource, content)| {
                    let ids: HashSet<Uuid> = members_of(&resource.body).collect();
                    (content, ids)
                });
                if let Some((Content::Group(group), ids)) = before
                    && *group == body
                    && ids == members.iter().copied().collect()
                {
                    return Ok(None);
                }
                let keys = self
                    .service
                    .keyring
                    .tenant(self.live.tenant)
                    .await
                    .map_err(sealing_problem)?;
                let plain = serde_json::to_vec(&body).map_err(|error| Problem::internal(&error))?;
                work.written.content = keys.seal(&self.place(id), &plain).map_err(sealing_problem)?;
                work.members = Some(members);
            }
        }
        Ok(Some(work))
    }

    /// The key of an account, which a new one gets.
    async fn key(&self, id: Uuid, work: &mut Work) -> Result<SubjectKey, ScimProblem> {
        let (keyring, subject) = (&self.service.keyring, (self.live.tenant, self.subject(id).uuid()));
        let known = keyring.subjects(&[subject]).await.map_err(sealing_problem)?;
        if let Some(key) = known.get(&subject) {
            return Ok(key.clone());
        }
        let (new, key) = keyring.new_subject(subject).await.map_err(sealing_problem)?;
        work.new_key = Some(new);
        Ok(key)
    }

    /// `before` is what it was, with the employee of another source whom it belonged to.
    async fn account(
        &self,
        work: &mut Work,
        (account, before, today): (Account, Option<(&Account, Option<Uuid>)>, domain::Date),
    ) -> Result<(), ScimProblem> {
        let key = self.key(work.id, work).await?;
        let plain = serde_json::to_vec(&account).map_err(|error| Problem::internal(&error))?;
        work.written.subject = Some(self.subject(work.id).uuid());
        work.written.content = key.seal_bytes(&self.place(work.id), &plain).map_err(sealing_problem)?;
        let email = account.email();
        work.written.email_digest = email.as_deref().map(|email| self.digest(email));
        work.written.tell_on = account.next_day(today);
        let manager = account.manager().map(|named| {
            let id = named.parse().ok();
            (id, self.digest(&named))
        });
        work.written.manager_digest = manager.as_ref().map(|(_, digest)| digest.clone());
        let own = [
            Some(work.written.name_digest.clone()),
            work.written.external_digest.clone(),
        ];
        work.called.0 = own
            .into_iter()
            .flatten()
            .chain([self.digest(&work.id.to_string())])
            .collect();
        let known = before.and_then(|(_, employee)| employee);
        work.telling = Some(Telling {
            email,
            known,
            was_told: known.is_none() && before.is_some_and(|(before, _)| before.is_employee),
            account,
            manager,
            keys: self
                .service
                .keyring
                .tenant(self.live.tenant)
                .await
                .map_err(sealing_problem)?,
            today,
        });
        Ok(())
    }

    /// Writes it; false if somebody else was faster.
    async fn done(&self, of: ResourceType, work: Work) -> Result<bool, ScimProblem> {
        let new_key = work.new_key.clone();
        let tenants = [self.live.tenant];
        let outcome = self
            .service
            .database
            .transact(Access::Write, &tenants, move |c| Box::pin(write(c, work)))
            .await
            .map_err(Problem::from)?;
        match outcome {
            Outcome::Done => {
                self.service.keyring.stored(new_key.into_iter().collect());
                Ok(true)
            }
            Outcome::Overtaken => Ok(false),
            Outcome::NameTaken => Err(ScimProblem {
                status: StatusCode::CONFLICT,
                kind: Some("uniqueness"),
                detail: format!("There is a {} with this userName already", of.name()),
            }),
            Outcome::OwnManager => Err(ScimProblem::bad(
                "invalidValue",
                "manager: nobody can be their own manager",
            )),
            Outcome::UnknownMember(id) => Err(ScimProblem::bad("invalidValue", format!("members: {id} is not here"))),
        }
    }

    /// Tells again of accounts whose day has come, such as that of an ending, and looks whose the accounts are, among the employees of
    /// other sources who have come since.
    ///
    /// # Errors
    /// When a part of Tenure is away.
    pub async fn find_employees(&self) -> Result<(), ScimProblem> {
        let (scope, tenants, mut after) = (self.scope(), [self.live.tenant], Uuid::nil());
        let today = clock::today();
        let noted = self.service.database.transact(Access::Write, &tenants, move |c| {
            Box::pin(async move {
                scim::lock(c, scope).await?;
                scim::days_came(c, scope, today).await
            })
        });
        noted.await.map_err(Problem::from)?;
        loop {
            let page = self
                .read(move |c| Box::pin(scim::addresses_elsewhere(c, scope.0, (after, ADDRESSES_BATCH))))
                .await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let digests: Vec<Vec<u8>> = page.iter().map(|(_, email)| self.digest(email)).collect();
            let noted = self.service.database.transact(Access::Write, &tenants, move |c| {
                Box::pin(async move {
                    scim::lock(c, scope).await?;
                    scim::employees_came(c, scope, &digests).await
                })
            });
            noted.await.map_err(Problem::from)?;
        }
        // Who cannot be told now stays marked, and must not keep this going.
        while self.tell_again().await? > 0 {}
        Ok(())
    }

    /// Tells again of people whose manager, employee or day has come. Answers of how many.
    async fn tell_again(&self) -> Result<usize, ScimProblem> {
        let (scope, mut told) = (self.scope(), 0);
        let waiting = self
            .read(move |c| Box::pin(scim::to_tell_again(c, scope, TOLD_AGAIN_MAX)))
            .await?;
        for &id in &waiting {
            for _ in 0..ATTEMPTS_MAX {
                let stored = self.found(ResourceType::User, Which::Id(id), (0, 1)).await?;
                let Some(known) = self.opened(ResourceType::User, stored, true).await?.pop() else {
                    break;
                };
                let (resource, Content::User(account)) = known else {
                    break;
                };
                let known = (Some(resource.version), resource.version, resource.modified_at);
                let mut work = self.begin(ResourceType::User, (id, &account.resource), known);
                let before = Some((&*account, resource.employee));
                let same = Account::clone(&account);
                self.account(&mut work, (same, before, clock::today())).await?;
                if self.done(ResourceType::User, work).await? {
                    told += 1;
                    break;
                }
            }
        }
        Ok(told)
    }

    /// Removes a resource. The employment of an account ends with it.
    ///
    /// # Errors
    /// When it is not there, or is another one by now.
    pub async fn delete(&self, of: ResourceType, id: Uuid, tags: Option<&str>) -> Result<(), ScimProblem> {
        for _ in 0..ATTEMPTS_MAX {
            let (resource, content) = self.known(of, id, tags).await?;
            let (scope, version, today) = (self.scope(), resource.version, clock::today());
            let belongs_to = resource.employee;
            let (mut telling, mut subject) = (None, None);
            if let Content::User(account) = content {
                if !account.is_employee {
                    subject = Some((scope.0, self.subject(id).uuid()));
                }
                // What another source says of its employee counts.
                let own = Some(account).filter(|_| belongs_to.is_none());
                if let Some((account, never_began)) = own.and_then(|account| account.deleted(today)) {
                    let keys = self.service.keyring.tenant(scope.0).await.map_err(sealing_problem)?;
                    let source = source(scope.1, id);
                    let snapshot = if never_began {
                        Some(taken_back(source, today))
                    } else {
                        account.snapshot(source, Manager::Unknown, today)
                    };
                    let told = snapshot.map(|snapshot| outgoing(scope, id, snapshot, &keys));
                    telling = told.transpose().map_err(Problem::from)?;
                }
            }
            let is_done = self
                .service
                .database
                .transact(Access::Write, &[scope.0], move |c| {
                    Box::pin(async move {
                        scim::lock(c, scope).await?;
                        let stored = scim::find(c, scope, (kind(of), Which::Id(id)), (0, 1)).await?;
                        if stored.first().map(|one| (one.version, one.employee)) != Some((version, belongs_to)) {
                            return Ok(false);
                        }
                        scim::delete(c, scope, id).await?;
                        if let Some(subject) = subject {
                            // Nothing else was sealed with it.
                            sealing::destroy_subject_key(c, subject).await?;
                        }
                        outbox::add(c, telling.as_slice()).await?;
                        Ok(true)
                    })
                })
                .await
                .map_err(Problem::from)?;
            if is_done {
                self.service.keyring.forget(subject.as_slice());
                return Ok(());
            }
        }
        Err(busy())
    }
}

async fn write(c: &mut Connection, mut work: Work) -> Result<Outcome, DatabaseError> {
    let (scope, id) = (work.scope, work.id);
    scim::lock(c, scope).await?;
    let stored = scim::find(c, scope, (work.written.kind, Which::Id(id)), (0, 1)).await?;
    // Whose it is changes without a new version.
    let known = work.telling.as_ref().and_then(|telling| telling.known);
    if stored.first().map(|one| one.version) != work.replaces || stored.first().and_then(|one| one.employee) != known {
        return Ok(Outcome::Overtaken);
    }
    if work.written.kind == Kind::User {
        let which = Which::Name(work.written.name_digest.clone());
        let named = scim::find(c, scope, (Kind::User, which), (0, 1)).await?;
        if named.iter().any(|other| other.id != id) {
            return Ok(Outcome::NameTaken);
        }
    }
    if let Some(members) = &work.members
        && let Some(unknown) = scim::unknown_member(c, scope, members).await?
    {
        return Ok(Outcome::UnknownMember(unknown));
    }
    let (mut told, mut is_called) = (None, work.called.1);
    if let Some(telling) = work.telling {
        let manager = match telling.manager {
            None => Manager::Nobody,
            Some((named, digest)) => {
                if named == Some(id) || work.called.0.contains(&digest) {
                    return Ok(Outcome::OwnManager);
                }
                match scim::called(c, scope, (named, digest)).await? {
                    Some((_, Some(employee))) => Manager::Is(EmployeeId::from_uuid(employee)),
                    Some((account, None)) => Manager::Is(EmployeeId::derive(scope.0, scope.1, &account.to_string())),
                    None => Manager::Unknown,
                }
            }
        };
        let claim = Claim {
            email: telling.email.as_deref(),
            start: telling.account.start(),
            known: telling.known,
        };
        let employee = scim::employee_of(c, scope.0, claim).await?;
        work.written.employee = employee;
        is_called |= employee != telling.known;
        let source = source(scope.1, id);
        let snapshot = match employee {
            // What the other source says counts, and nobody is there twice.
            Some(_) => telling.was_told.then(|| taken_back(source, telling.today)),
            None => telling.account.snapshot(source, manager, telling.today),
        };
        told = snapshot
            .map(|snapshot| outgoing(scope, id, snapshot, &telling.keys))
            .transpose()?;
    }
    let is_new = work.replaces.is_none();
    if !scim::write(c, scope, (id, is_new), work.written).await? {
        return Ok(Outcome::Overtaken);
    }
    sealing::store_subject_keys(c, work.new_key.as_slice()).await?;
    if let Some(members) = work.members {
        scim::set_members(c, scope, id, &members).await?;
    }
    if is_called {
        scim::manager_came(c, scope, &work.called.0).await?;
    }
    outbox::add(c, told.as_slice()).await?;
    Ok(Outcome::Done)
}

/// A record that should not be there.
fn taken_back(source: Source, today: domain::Date) -> Snapshot {
    let mut snapshot = Snapshot::silent(source, today);
    snapshot.standing = employee::Rows::current(today, employee::Standing::Deleted);
    snapshot
}

/// What an account says of an employee, on its way into the log.
fn outgoing(
    (tenant, of): (TenantId, ConnectionId),
    id: Uuid,
    snapshot: Snapshot,
    keys: &TenantKeys,
) -> Result<Outgoing, DatabaseError> {
    let command = CommandId::from_uuid(clock::new_id());
    let employee = EmployeeId::derive(tenant, of, &id.to_string());
    let said = AnyCommand::Employee(employee::Command::Synchronise(Box::new(snapshot)));
    let stream = StreamId::new(tenant, StreamKind::Employee, employee);
    let sealed = Outgoing::seal(keys, (command, stream), &intake::scim_actor(of), &said);
    sealed.map_err(|_| DatabaseError::Corrupt("command"))
}

fn source(connection: ConnectionId, id: Uuid) -> Source {
    Source {
        connection,
        remote_id: id.to_string(),
    }
}

fn place(connection: ConnectionId, id: Uuid) -> String {
    format!("scim|{connection}|{id}")
}

const fn kind(of: ResourceType) -> Kind {
    match of {
        ResourceType::User => Kind::User,
        ResourceType::Group => Kind::Group,
    }
}

fn members_of(body: &Object) -> impl Iterator<Item = Uuid> {
    let members = body.get("members").and_then(Value::as_array);
    members
        .into_iter()
        .flatten()
        .filter_map(|member| member["value"].as_str()?.parse().ok())
}

/// Who is to be in a group, each once.
fn members(body: &Object) -> Result<Vec<Uuid>, ScimProblem> {
    let invalid = |text: String| Err(ScimProblem::bad("invalidValue", text));
    let sent = body
        .get("members")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    if sent.len() > MEMBERS_MAX {
        return invalid(format!("members: a group may have {MEMBERS_MAX}"));
    }
    let (mut members, mut known) = (Vec::with_capacity(sent.len()), HashSet::new());
    for member in sent {
        let Some(id) = member["value"].as_str().and_then(|id| id.parse().ok()) else {
            return invalid("members: a value is to be the id of a resource here".to_owned());
        };
        if known.insert(id) {
            members.push(id);
        }
    }
    Ok(members)
}

fn not_there(of: ResourceType) -> ScimProblem {
    ScimProblem::not_found(of.name())
}

fn busy() -> ScimProblem {
    ScimProblem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "Others change the same resource at the same time. Try again.",
    )
}

fn sealing_problem(error: SealingError) -> Problem {
    match error {
        SealingError::Database(error) => error.into(),
        error => Problem::internal(&error),
    }
}
