//! One person, and lists of people.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, ID, InputObject, Object, SimpleObject, connection::PageInfo};
use domain::{
    id::EmployeeId,
    policy::{Permission, Reach},
};
use infra::read_model::{
    employee::{EmployeeRow, Status as StatusName},
    query::{self, Filter, FoundRow, Key, Moment, Order, Page},
    risk::RiskRow,
    timeline,
};
use uuid::Uuid;

use super::{
    flat::{Flat, Plain},
    program::Readiness,
    risk::{Risk, RiskAssessment},
    scalar::{Band, Day, EmployeeOrder, Position, Status},
    timeline::TimelineConnection,
};
use crate::{
    access::Viewer,
    cursor::{self, Window},
    error::{ApiError, SharedError},
    limits::{FILTER_VALUES_MAX, TEXT_CHARS_MAX, page_cost},
    loaders::{Loaders, PageKey, PersonKey, TeamKey},
    store::Store,
};

/// A score that came along with the person, or is still to be loaded.
enum Score {
    Known(Option<Arc<RiskRow>>),
    ToLoad,
}

/// The manager's record, that came along with the person or is still to be loaded.
enum Manager {
    Known(Option<Arc<EmployeeRow>>),
    ToLoad,
}

/// A person at work. What the viewer may not see of them is null.
pub struct Employee {
    row: Arc<EmployeeRow>,
    /// None: today.
    at: Option<Moment>,
    score: Score,
    manager: Manager,
}

impl Employee {
    pub fn new(row: impl Into<Arc<EmployeeRow>>) -> Self {
        Self::at(row, None)
    }

    fn at(row: impl Into<Arc<EmployeeRow>>, at: Option<Moment>) -> Self {
        Self {
            row: row.into(),
            at,
            score: Score::ToLoad,
            manager: Manager::ToLoad,
        }
    }

    /// With the score that was read in the same statement.
    pub fn with_score(found: FoundRow, at: Option<Moment>) -> Self {
        Self {
            row: found.employee.into(),
            at,
            score: Score::Known(found.risk.map(Arc::new)),
            manager: Manager::ToLoad,
        }
    }

    fn employee_id(&self) -> EmployeeId {
        EmployeeId::from_uuid(self.row.id)
    }

    /// Whether the viewer may see this of this person: the permission, and the reach. People may be shown in outline who
    /// are beyond it: a manager, or oneself.
    fn shows(&self, viewer: &Viewer, permission: Permission) -> bool {
        viewer.may(permission) && viewer.reaches(&self.row)
    }

    fn key(&self, viewer: &Viewer) -> PersonKey {
        PersonKey {
            tenant: viewer.0.tenant,
            employee: self.employee_id(),
            at: self.at,
        }
    }

    fn page_key(&self, viewer: &Viewer, before: Option<i64>, limit: i64) -> PageKey {
        let PersonKey { tenant, employee, at } = self.key(viewer);
        let page = timeline::Page { before, limit, at };
        PageKey { tenant, employee, page }
    }
}

#[Object]
impl Employee {
    pub async fn id(&self) -> ID {
        ID(self.row.id.to_string())
    }

    /// The name, or a pseudonym for viewers who do not see names. Null when the person was erased.
    async fn display_name(&self, ctx: &Context<'_>) -> Result<Option<String>, ApiError> {
        let viewer = Viewer::of(ctx)?;
        if viewer.may(Permission::SeeNames) {
            return Ok(self.row.display_name.clone());
        }
        Ok(Some(store(ctx)?.pseudonyms.of(viewer, self.employee_id())))
    }

    async fn job_title(&self) -> Option<&str> {
        self.row.job_title.as_deref()
    }

    async fn department(&self) -> Option<&str> {
        self.row.department.as_deref()
    }

    async fn division(&self) -> Option<&str> {
        self.row.division.as_deref()
    }

    async fn location(&self) -> Option<&str> {
        self.row.location.as_deref()
    }

    async fn status(&self) -> Result<Status, ApiError> {
        StatusName::from_name(&self.row.status)
            .map(Status::from)
            .ok_or(ApiError::Corrupt("status"))
    }

    async fn hired_on(&self) -> Day {
        Day(self.row.hired_on)
    }

    /// The first day on which the person no longer works here.
    async fn left_on(&self) -> Option<Day> {
        self.row.left_on.map(Day)
    }

    /// The last day that a notice names.
    async fn last_day(&self) -> Option<Day> {
        self.row.last_day.map(Day)
    }

    /// Contractual working time.
    async fn weekly_minutes(&self) -> Option<i32> {
        self.row.weekly_minutes
    }

    async fn work_email(&self, ctx: &Context<'_>) -> Result<Option<&str>, ApiError> {
        Ok(self
            .row
            .work_email
            .as_deref()
            .filter(|_| Viewer::of(ctx).is_ok_and(|viewer| self.shows(viewer, Permission::SeeContacts))))
    }

    async fn work_phone(&self, ctx: &Context<'_>) -> Result<Option<&str>, ApiError> {
        Ok(self
            .row
            .work_phone
            .as_deref()
            .filter(|_| Viewer::of(ctx).is_ok_and(|viewer| self.shows(viewer, Permission::SeeContacts))))
    }

    async fn mobile_phone(&self, ctx: &Context<'_>) -> Result<Option<&str>, ApiError> {
        Ok(self
            .row
            .mobile_phone
            .as_deref()
            .filter(|_| Viewer::of(ctx).is_ok_and(|viewer| self.shows(viewer, Permission::SeeContacts))))
    }

    /// The log position of the last event that changed this record.
    async fn position(&self) -> Position {
        Position(self.row.position)
    }

    /// In outline if the viewer does not reach the manager.
    async fn manager(&self, ctx: &Context<'_>) -> Result<Option<Self>, SharedError> {
        let Some(manager) = self.row.manager else {
            return Ok(None);
        };
        let viewer = Viewer::of(ctx)?;
        if !viewer.may(Permission::SeeEmployees) {
            return Ok(None);
        }
        let row = match &self.manager {
            Manager::Known(row) => row.clone(),
            Manager::ToLoad => loaders(ctx)?
                .people
                .load_one(PersonKey {
                    employee: EmployeeId::from_uuid(manager),
                    ..self.key(viewer)
                })
                .await?
                .map(Arc::new),
        };
        // A store manager's reports are managed by nobody else; any other manager is none of theirs.
        Ok(row
            .filter(|row| viewer.reaches(row) || viewer.is(row))
            .map(|row| Self::at(row, self.at)))
    }

    /// The people whose manager this is, as far as the viewer reaches them.
    #[graphql(complexity = "page_cost(first, None) * child_complexity + 1")]
    async fn team(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<EmployeeConnection, SharedError> {
        let viewer = Viewer::of(ctx)?;
        viewer.require(Permission::SeeEmployees)?;
        let window = Window::new(first, after, None, None)?;
        let order = if viewer.may(Permission::SeeNames) {
            Order::Name
        } else {
            Order::Id
        };
        let after = match window
            .cursor
            .as_deref()
            .map(|cursor| cursor::to_key(cursor, order))
            .transpose()?
        {
            None => None,
            Some(Key::Name(name, id)) => Some((name, id)),
            Some(Key::Id(id) | Key::Risk(_, id)) => Some((None, id)),
        };
        let filter = Filter {
            at: self.at,
            manager: Some(self.employee_id()),
            ..viewer.scope().unwrap_or_default()
        };
        let within_reach = match viewer.0.reach() {
            Reach::WholeTenant => true,
            Reach::TeamOf(manager) => manager == self.employee_id(),
            Reach::Nobody => false,
        };
        if !within_reach {
            return Ok(EmployeeConnection::new(vec![], &window, order, filter));
        }
        let key = TeamKey {
            tenant: viewer.0.tenant,
            manager: self.employee_id(),
            after,
            limit: i64::from(window.size) + 1,
            by_name: order == Order::Name,
            at: self.at,
        };
        let found = loaders(ctx)?.teams.load_one(key).await?.unwrap_or_default();
        let mut connection = EmployeeConnection::new(found, &window, order, filter);
        // The team's statement does not read scores: they come in one more for all teams.
        for (_, employee) in &mut connection.entries {
            employee.score = Score::ToLoad;
        }
        Ok(connection)
    }

    /// The current score. Null: nobody scores this person (not employed, objected), or the viewer may not see it.
    async fn risk(&self, ctx: &Context<'_>) -> Result<Option<Flat<Risk>>, SharedError> {
        let viewer = Viewer::of(ctx)?;
        if !self.shows(viewer, Permission::SeeRisk) {
            return Ok(None);
        }
        let row = match &self.score {
            Score::Known(row) => row.clone(),
            Score::ToLoad => loaders(ctx)?.risks.load_one(self.key(viewer)).await?.map(Arc::new),
        };
        Ok(row.map(|row| Flat(Risk(row))))
    }

    /// How ready the person is to move up, by career program. Empty: no candidate of any that can be told about, the viewer
    /// may not see it, or it is asked for a past day.
    async fn readiness(&self, ctx: &Context<'_>) -> Result<Vec<Readiness>, SharedError> {
        let viewer = Viewer::of(ctx)?;
        if self.at.is_some() || !self.shows(viewer, Permission::SeeRisk) {
            return Ok(vec![]);
        }
        let key = (viewer.0.tenant, self.employee_id());
        let rows = loaders(ctx)?.readiness.load_one(key).await?;
        Ok(rows.unwrap_or_default().into_iter().map(Readiness).collect())
    }

    /// The scores that were news, newest first; those before the log position `before`.
    #[graphql(complexity = "page_cost(first, None) * child_complexity + 1")]
    async fn risk_history(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        before: Option<Position>,
    ) -> Result<Flat<Vec<RiskAssessment>>, SharedError> {
        let viewer = Viewer::of(ctx)?;
        let limit = i64::from(cursor::page_size(first)?);
        if !self.shows(viewer, Permission::SeeRisk) {
            return Ok(Flat(vec![]));
        }
        let key = self.page_key(viewer, before.map(|position| position.0), limit);
        let rows = loaders(ctx)?.risk_histories.load_one(key).await?.unwrap_or_default();
        Ok(Flat(rows.into_iter().map(RiskAssessment).collect()))
    }

    /// Everything that is recorded about the person, newest first.
    #[graphql(complexity = "page_cost(first, None) * child_complexity + 1")]
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<TimelineConnection, SharedError> {
        let viewer = Viewer::of(ctx)?;
        let window = Window::new(first, after, None, None)?;
        let before = window.cursor.as_deref().map(cursor::to_position).transpose()?;
        if !self.shows(viewer, Permission::SeeEmployees) {
            return Ok(TimelineConnection::empty());
        }
        let loaders = loaders(ctx)?;
        let key = self.page_key(viewer, before, i64::from(window.size) + 1);
        let rows = loaders.timelines.load_one(key).await?.unwrap_or_default();
        TimelineConnection::open(rows, &window, viewer, &loaders.keys).await
    }
}

impl Plain for &Employee {
    fn waits(&self, field: &str) -> bool {
        match field {
            "risk" => matches!(self.score, Score::ToLoad),
            "manager" | "team" | "readiness" | "riskHistory" | "timeline" => true,
            _ => false,
        }
    }
}

/// People, a page at a time.
pub struct EmployeeConnection {
    entries: Vec<(Key, Employee)>,
    has_next: bool,
    has_previous: bool,
    /// What `totalCount` counts; none: nobody.
    filter: Option<Filter>,
}

impl EmployeeConnection {
    /// `found` may hold one entry more than the window: that there is more.
    fn new(mut found: Vec<FoundRow>, window: &Window, order: Order, filter: Filter) -> Self {
        let size = usize::try_from(window.size).unwrap_or(0);
        let more = found.len() > size;
        if more && window.backwards {
            found.remove(0);
        }
        found.truncate(size);
        let from_somewhere = window.cursor.is_some();
        let (has_next, has_previous) = if window.backwards {
            (from_somewhere, more)
        } else {
            (more, from_somewhere)
        };
        let entries = found
            .into_iter()
            .map(|found| (found.key(order), Employee::with_score(found, filter.at)))
            .collect();
        Self {
            entries,
            has_next,
            has_previous,
            filter: Some(filter),
        }
    }

    const fn empty() -> Self {
        Self {
            entries: Vec::new(),
            has_next: false,
            has_previous: false,
            filter: None,
        }
    }
}

#[Object]
impl EmployeeConnection {
    async fn edges(&self) -> Vec<EmployeeEdge<'_>> {
        self.entries
            .iter()
            .map(|(key, node)| EmployeeEdge { key, node })
            .collect()
    }

    async fn nodes(&self) -> Vec<Flat<&Employee>> {
        self.entries.iter().map(|(_, node)| Flat(node)).collect()
    }

    async fn page_info(&self) -> PageInfo {
        let cursor = |entry: Option<&(Key, Employee)>| entry.map(|(key, _)| cursor::of_key(key.clone()));
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: cursor(self.entries.first()),
            end_cursor: cursor(self.entries.last()),
        }
    }

    /// How many there are on all pages: counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i64, ApiError> {
        let Some(filter) = self.filter.clone() else {
            return Ok(0);
        };
        let tenant = Viewer::of(ctx)?.0.tenant;
        store(ctx)?
            .read(tenant, move |connection| {
                Box::pin(async move { query::count_employees(connection, tenant, &filter).await })
            })
            .await
    }
}

/// A person in a list.
pub struct EmployeeEdge<'c> {
    key: &'c Key,
    node: &'c Employee,
}

#[Object]
impl EmployeeEdge<'_> {
    async fn node(&self) -> Flat<&Employee> {
        Flat(self.node)
    }

    async fn cursor(&self) -> String {
        cursor::of_key(self.key.clone())
    }
}

/// Which employees to list; what is left out does not matter.
#[derive(Default, InputObject)]
pub struct EmployeeFilter {
    /// A part of the name, in any case.
    search: Option<String>,
    department: Option<String>,
    location: Option<String>,
    /// Any of these bands.
    band: Option<Vec<Band>>,
    /// The manager's id.
    manager: Option<ID>,
    /// Any of these; left out, people who have left are listed too.
    status: Option<Vec<Status>>,
}

impl EmployeeFilter {
    /// The filter within the viewer's reach.
    fn within(self, viewer: &Viewer, scope: Filter) -> Result<Filter, ApiError> {
        let search = self
            .search
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        if search.is_some() {
            viewer.require(Permission::SeeNames)?;
        }
        if self.band.as_ref().is_some_and(|bands| !bands.is_empty()) {
            viewer.require(Permission::SeeRisk)?;
        }
        for text in [&search, &self.department, &self.location].into_iter().flatten() {
            if text.chars().count() > TEXT_CHARS_MAX {
                return Err(ApiError::bad_input(format!(
                    "a filter has {TEXT_CHARS_MAX} characters at most"
                )));
            }
        }
        let (bands, statuses) = (self.band.unwrap_or_default(), self.status.unwrap_or_default());
        if bands.len() > FILTER_VALUES_MAX || statuses.len() > FILTER_VALUES_MAX {
            return Err(ApiError::bad_input(format!(
                "a filter names {FILTER_VALUES_MAX} values at most"
            )));
        }
        Ok(Filter {
            at: scope.at,
            name_part: search,
            department: self.department,
            location: self.location,
            bands: bands.into_iter().map(Into::into).collect(),
            manager: self.manager.map(|id| employee_id(&id)).transpose()?,
            statuses: statuses.into_iter().map(Into::into).collect(),
            team_of: scope.team_of,
        })
    }
}

/// Lists employees within the viewer's reach.
pub async fn list(
    ctx: &Context<'_>,
    window: Window,
    filter: Option<EmployeeFilter>,
    order: EmployeeOrder,
    at: Option<Moment>,
) -> Result<EmployeeConnection, ApiError> {
    let viewer = Viewer::of(ctx)?;
    let Some(scope) = viewer.scope() else {
        return Ok(EmployeeConnection::empty());
    };
    let scope = Filter { at, ..scope };
    let filter = filter.unwrap_or_default().within(viewer, scope)?;
    let order = match order {
        // A list sorted by name tells names.
        EmployeeOrder::Name if viewer.may(Permission::SeeNames) => Order::Name,
        EmployeeOrder::Name => Order::Id,
        EmployeeOrder::Risk => {
            viewer.require(Permission::SeeRisk)?;
            Order::Risk
        }
    };
    let from = window
        .cursor
        .as_deref()
        .map(|cursor| cursor::to_key(cursor, order))
        .transpose()?;
    let asked = ctx.look_ahead();
    let selects =
        |field| asked.field("edges").field("node").field(field).exists() || asked.field("nodes").field(field).exists();
    let (with_risk, with_managers) = (order == Order::Risk || selects("risk"), selects("manager"));
    let page = Page {
        order,
        backwards: window.backwards,
        from,
        limit: i64::from(window.size) + 1,
        with_risk,
    };
    let tenant = viewer.0.tenant;
    let wanted = filter.clone();
    // What hangs on every entry is read in the same transaction.
    let (found, managers) = store(ctx)?
        .walk(tenant, move |connection| {
            Box::pin(async move {
                let found = query::employees(connection, tenant, &wanted, &page).await?;
                let mut ids: Vec<_> = found
                    .iter()
                    .filter(|_| with_managers)
                    .filter_map(|found| found.employee.manager)
                    .map(EmployeeId::from_uuid)
                    .collect();
                ids.sort_unstable();
                ids.dedup();
                let managers = if ids.is_empty() {
                    vec![]
                } else {
                    let everybody = Filter {
                        at,
                        ..Filter::default()
                    };
                    query::employees_by_id(connection, tenant, &ids, &everybody, false).await?
                };
                Ok((found, managers))
            })
        })
        .await?;
    let managers: HashMap<Uuid, Arc<EmployeeRow>> = managers
        .into_iter()
        .map(|found| (found.employee.id, Arc::new(found.employee)))
        .collect();
    let mut connection = EmployeeConnection::new(found, &window, order, filter);
    for (_, employee) in &mut connection.entries {
        if !with_risk {
            employee.score = Score::ToLoad;
        }
        if with_managers {
            employee.manager = Manager::Known(employee.row.manager.and_then(|manager| managers.get(&manager).cloned()));
        }
    }
    Ok(connection)
}

/// One employee; absent and out of reach look the same.
pub async fn find(ctx: &Context<'_>, id: EmployeeId, at: Option<Moment>) -> Result<Option<Employee>, ApiError> {
    let viewer = Viewer::of(ctx)?;
    let Some(scope) = viewer.scope() else { return Ok(None) };
    let scope = Filter { at, ..scope };
    let tenant = viewer.0.tenant;
    let with_risk = ctx.look_ahead().field("risk").exists();
    let mut found = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { query::employees_by_id(connection, tenant, &[id], &scope, with_risk).await })
        })
        .await?;
    Ok(found
        .pop()
        .filter(|found| viewer.reaches(&found.employee))
        .map(|found| {
            if with_risk {
                Employee::with_score(found, at)
            } else {
                Employee::at(found.employee, at)
            }
        }))
}

pub fn employee_id(id: &ID) -> Result<EmployeeId, ApiError> {
    id.parse()
        .map_err(|_| ApiError::bad_input("an employee's id is a UUID"))
}

pub fn store<'c>(ctx: &Context<'c>) -> Result<&'c Store, ApiError> {
    ctx.data_opt().ok_or(ApiError::Corrupt("schema"))
}

pub fn loaders<'c>(ctx: &Context<'c>) -> Result<&'c Loaders, ApiError> {
    ctx.data_opt().ok_or(ApiError::Corrupt("request"))
}

/// The person who asks.
#[derive(SimpleObject)]
pub struct ViewerInfo {
    /// The token's subject.
    pub subject: String,
    pub role: String,
    /// What the role may do.
    pub permissions: Vec<String>,
    /// The viewer among the employees, in outline if they do not reach themselves.
    pub employee: Option<Employee>,
}

/// Who asks.
pub async fn viewer_info(ctx: &Context<'_>) -> Result<ViewerInfo, SharedError> {
    let viewer = Viewer::of(ctx)?;
    let permissions = Permission::ALL
        .into_iter()
        .filter(|permission| viewer.may(*permission))
        .map(|permission| format!("{permission:?}"))
        .collect();
    let employee = match viewer
        .0
        .employee
        .filter(|_| viewer.may(Permission::SeeEmployees) && ctx.look_ahead().field("employee").exists())
    {
        Some(own) => loaders(ctx)?
            .people
            .load_one(PersonKey::today(viewer.0.tenant, own))
            .await?
            .map(Employee::new),
        None => None,
    };
    Ok(ViewerInfo {
        subject: viewer.0.subject.clone(),
        role: viewer.0.role.name().to_owned(),
        permissions,
        employee,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::row;

    fn found(id: u128) -> FoundRow {
        FoundRow {
            employee: row(id, None),
            name_key: Some("ada".into()),
            risk: None,
        }
    }

    fn window(backwards: bool, cursor: bool) -> Window {
        Window {
            size: 2,
            backwards,
            cursor: cursor.then(|| "c".to_owned()),
        }
    }

    #[test]
    fn one_entry_more_than_asked_for_means_that_there_is_more() {
        let ids = |connection: &EmployeeConnection| {
            connection
                .entries
                .iter()
                .map(|(_, e)| e.row.id.as_u128())
                .collect::<Vec<_>>()
        };
        let forward = EmployeeConnection::new(
            vec![found(1), found(2), found(3)],
            &window(false, false),
            Order::Id,
            Filter::default(),
        );
        assert_eq!(
            (ids(&forward), forward.has_next, forward.has_previous),
            (vec![1, 2], true, false)
        );
        let backward = EmployeeConnection::new(
            vec![found(1), found(2), found(3)],
            &window(true, true),
            Order::Id,
            Filter::default(),
        );
        assert_eq!(
            (ids(&backward), backward.has_next, backward.has_previous),
            (vec![2, 3], true, true)
        );
        let whole = EmployeeConnection::new(vec![found(1)], &window(false, true), Order::Id, Filter::default());
        assert_eq!(
            (ids(&whole), whole.has_next, whole.has_previous),
            (vec![1], false, true)
        );
    }
}
