//! What the query API asks of the read models. Reads only; every statement names its tenant, and row-level security
//! refuses the others.

use domain::{
    Date, Timestamp,
    id::{EmployeeId, TenantId},
    risk::{Band, Factor},
};
use sqlx::{Decode, FromRow, Postgres, QueryBuilder, Row, Type, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::{
    FOR_EVER,
    employee::{EmployeeRow, Status},
    risk::RiskRow,
};
use crate::database::{Connection, DatabaseError, Doing};

/// A day of the past, and a state of knowledge about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment {
    /// True in the world on this day …
    pub day: Date,
    /// … by what was recorded until then, inclusive.
    pub known_at: Timestamp,
}

impl Moment {
    /// The first microsecond after the day, in UTC.
    #[must_use]
    pub fn day_ends(&self) -> Timestamp {
        let next = self.day.succ_opt().unwrap_or(FOR_EVER);
        next.and_time(chrono::NaiveTime::MIN).and_utc()
    }
}

/// Which employees are asked for. What is not named does not matter.
#[derive(Clone, PartialEq, Default)]
pub struct Filter {
    /// None: today, by all that is known.
    pub at: Option<Moment>,
    /// Part of the name, in any case.
    pub name_part: Option<String>,
    pub department: Option<String>,
    pub location: Option<String>,
    pub bands: Vec<Band>,
    pub manager: Option<EmployeeId>,
    pub statuses: Vec<Status>,
    /// The asker's reach: only people whose manager this is.
    pub team_of: Option<EmployeeId>,
}

/// How a list is sorted. Ties are broken by id, so that every order is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By name; the nameless (erased) come last.
    Name,
    Id,
    /// The highest probability first; those without a score come last.
    Risk,
}

/// A place in an ordered list: the sort key of an entry.
#[derive(Clone, PartialEq)]
pub enum Key {
    /// The name in lower case, as the database folds it.
    Name(Option<String>, EmployeeId),
    Id(EmployeeId),
    Risk(Option<f64>, EmployeeId),
}

/// Which piece of an ordered list is asked for.
#[derive(Clone, PartialEq)]
pub struct Page {
    pub order: Order,
    /// The piece that ends before `from` (or at the end), instead of the one that begins after it.
    pub backwards: bool,
    pub from: Option<Key>,
    pub limit: i64,
    /// Whether each entry brings its current score along.
    pub with_risk: bool,
}

impl Page {
    fn joins_risk(&self, filter: &Filter) -> bool {
        self.with_risk || self.order == Order::Risk || !filter.bands.is_empty()
    }
}

/// One entry of a list.
#[derive(Clone, PartialEq)]
pub struct FoundRow {
    pub employee: EmployeeRow,
    pub name_key: Option<String>,
    /// `None` as well when scores were not asked for.
    pub risk: Option<RiskRow>,
}

impl FoundRow {
    /// Where this entry is in a list of that order.
    #[must_use]
    pub fn key(&self, order: Order) -> Key {
        let id = EmployeeId::from_uuid(self.employee.id);
        match order {
            Order::Name => Key::Name(self.name_key.clone(), id),
            Order::Id => Key::Id(id),
            Order::Risk => Key::Risk(self.risk.as_ref().map(|risk| risk.probability), id),
        }
    }

    /// Reads [`EMPLOYEE_COLUMNS`], and [`RISK_COLUMNS`] if they were selected.
    fn read(row: &PgRow, with_risk: bool) -> Result<Self, sqlx::Error> {
        let mut columns = Columns { row, next: 0 };
        let employee = EmployeeRow {
            tenant: columns.take()?,
            id: columns.take()?,
            connection: columns.take()?,
            remote_id: columns.take()?,
            display_name: columns.take()?,
            work_email: columns.take()?,
            work_phone: columns.take()?,
            mobile_phone: columns.take()?,
            job_title: columns.take()?,
            department: columns.take()?,
            division: columns.take()?,
            location: columns.take()?,
            manager: columns.take()?,
            status: columns.take()?,
            hired_on: columns.take()?,
            left_on: columns.take()?,
            notice_on: columns.take()?,
            last_day: columns.take()?,
            weekly_minutes: columns.take()?,
            objects_to_scoring: columns.take()?,
            next_change_on: columns.take()?,
            position: columns.take()?,
        };
        let name_key = columns.take()?;
        let probability: Option<f64> = if with_risk { columns.take()? } else { None };
        let risk = match probability {
            None => None,
            Some(probability) => Some(RiskRow {
                tenant: employee.tenant,
                employee: employee.id,
                probability,
                horizon_days: columns.take()?,
                band: columns.take()?,
                factors: columns.take::<Json<Vec<Factor>>>()?,
                model: columns.take()?,
                scored_at: columns.take()?,
                position: columns.take()?,
                vector: columns.take()?,
            }),
        };
        Ok(Self {
            employee,
            name_key,
            risk,
        })
    }
}

/// A row's columns from the left: to look thirty names up for each row of a page would take as long as to read them.
struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    fn take<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, sqlx::Error> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }
}

const EMPLOYEE_COLUMNS: &str = "e.tenant, e.id, e.connection, e.remote_id, e.display_name, e.work_email, e.work_phone, e.mobile_phone, \
     e.job_title, e.department, e.division, e.location, e.manager, e.status, e.hired_on, e.left_on, e.notice_on, e.last_day, \
     e.weekly_minutes, e.objects_to_scoring, e.next_change_on, e.position, lower(e.display_name) as name_key";
const RISK_COLUMNS: &str =
    ", r.probability, r.horizon_days, r.band, r.factors, r.model, r.scored_at, r.position, r.vector";

/// An order has two stretches: entries that have its sort key, then those that lack it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stretch {
    Keyed,
    Keyless,
}

/// A page of a tenant's employees, in the order of the list whichever way it is read.
///
/// # Errors
/// When the database fails.
pub async fn employees(
    connection: &mut Connection,
    tenant: TenantId,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<FoundRow>, DatabaseError> {
    let stretches: &[Stretch] = match (page.order, page.backwards) {
        (Order::Id, _) => &[Stretch::Keyed],
        (Order::Name | Order::Risk, false) => &[Stretch::Keyed, Stretch::Keyless],
        (Order::Name | Order::Risk, true) => &[Stretch::Keyless, Stretch::Keyed],
    };
    let begun_in = page.from.as_ref().map(|key| match key {
        Key::Name(None, _) | Key::Risk(None, _) => Stretch::Keyless,
        Key::Name(Some(_), _) | Key::Risk(Some(_), _) | Key::Id(_) => Stretch::Keyed,
    });
    let mut rows: Vec<FoundRow> = Vec::new();
    let mut from = page.from.as_ref();
    for &stretch in stretches
        .iter()
        .skip_while(|stretch| begun_in.is_some_and(|begun| begun != **stretch))
    {
        let missing = page.limit - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if missing <= 0 {
            break;
        }
        let mut query = page_query(tenant, filter, page, stretch, from.take(), missing);
        let with_risk = page.joins_risk(filter);
        let found = query.build().fetch_all(&mut *connection).await;
        for row in found.doing("list employees")? {
            rows.push(FoundRow::read(&row, with_risk).doing("read an employee")?);
        }
    }
    if page.backwards {
        rows.reverse();
    }
    Ok(rows)
}

fn page_query(
    tenant: TenantId,
    filter: &Filter,
    page: &Page,
    stretch: Stretch,
    from: Option<&Key>,
    limit: i64,
) -> QueryBuilder<Postgres> {
    let joins_risk = page.joins_risk(filter);
    let mut query = QueryBuilder::new("select ");
    query.push(EMPLOYEE_COLUMNS);
    if joins_risk {
        query.push(RISK_COLUMNS);
    }
    push_from(
        &mut query,
        tenant,
        filter,
        joins_risk,
        page.order == Order::Risk && stretch == Stretch::Keyed,
    );
    match (page.order, stretch) {
        (Order::Name, Stretch::Keyed) => query.push(" and e.display_name is not null"),
        (Order::Name, Stretch::Keyless) => query.push(" and e.display_name is null"),
        (Order::Risk, Stretch::Keyless) => query.push(" and r.employee is null"),
        (Order::Risk, Stretch::Keyed) | (Order::Id, _) => &mut query,
    };
    // The index to walk along: of today's scores, or of all that there ever were.
    let score = if filter.at.is_some() { "h" } else { "r" };
    let (past, descending) = if page.backwards { ("<", " desc") } else { (">", "") };
    match from {
        Some(Key::Name(Some(name), id)) => {
            query.push(format_args!(" and (lower(e.display_name), e.id) {past} ("));
            query
                .push_bind(name.clone())
                .push(", ")
                .push_bind(Uuid::from(*id))
                .push(")");
        }
        Some(Key::Risk(Some(probability), id)) => {
            // Falling by probability, rising by id: no row comparison says that. The first condition is the index's.
            let (until, beyond) = if page.backwards { (">=", ">") } else { ("<=", "<") };
            query
                .push(format_args!(" and {score}.probability {until} "))
                .push_bind(*probability);
            query
                .push(format_args!(" and ({score}.probability {beyond} "))
                .push_bind(*probability);
            query
                .push(format_args!(" or {score}.employee {past} "))
                .push_bind(Uuid::from(*id))
                .push(")");
        }
        Some(Key::Name(None, id) | Key::Risk(None, id) | Key::Id(id)) => {
            query.push(format_args!(" and e.id {past} ")).push_bind(Uuid::from(*id));
        }
        None => {}
    }
    match (page.order, stretch) {
        (Order::Name, Stretch::Keyed) => query.push(format_args!(
            " order by lower(e.display_name){descending}, e.id{descending}"
        )),
        (Order::Risk, Stretch::Keyed) => query.push(format_args!(
            " order by {score}.probability{}, {score}.employee{descending}",
            if page.backwards { "" } else { " desc" }
        )),
        (_, Stretch::Keyless) | (Order::Id, _) => query.push(format_args!(" order by e.id{descending}")),
    };
    // Written out: the planner takes an unknown limit for a tenth of the table, and would rather sort that than walk an index.
    query.push(format_args!(" limit {limit}"));
    query
}

fn push_from(
    query: &mut QueryBuilder<Postgres>,
    tenant: TenantId,
    filter: &Filter,
    joins_risk: bool,
    scored_only: bool,
) {
    // Each risk, or each employee, is looked up by its key (`offset 0` keeps it so): the planner, left to join, may read all of a
    // tenant for each row of a page.
    let needs_risk = scored_only || !filter.bands.is_empty();
    // Most people are in the lowest band: where it is asked for, too, the list is shorter than the band.
    let by_risk = scored_only || (!filter.bands.is_empty() && !filter.bands.contains(&Band::Low));
    if let Some(at) = filter.at {
        if scored_only {
            push_scores_at(query, tenant, at);
        } else {
            push_employees_at(query, at);
            if joins_risk {
                query.push(if needs_risk { " join" } else { " left join" });
                push_risk_at(query, at);
            }
            query.push(" where ");
        }
        query.push("e.tenant = ");
    } else if joins_risk && by_risk {
        query.push(
            " from risk r cross join lateral (select * from employee where (tenant, id) = (r.tenant, r.employee) offset 0) e where r.tenant = ",
        );
    } else {
        query.push(" from employee e");
        if joins_risk {
            let join = if needs_risk { "join" } else { "left join" };
            query.push(format_args!(
                " {join} lateral (select * from risk where (tenant, employee) = (e.tenant, e.id) offset 0) r on true"
            ));
        }
        query.push(" where e.tenant = ");
    }
    query.push_bind(Uuid::from(tenant));
    if let Some(part) = &filter.name_part {
        query
            .push(" and lower(e.display_name) like '%' || lower(")
            .push_bind(escaped(part))
            .push(") || '%'");
    }
    if let Some(department) = &filter.department {
        query.push(" and e.department = ").push_bind(department.clone());
    }
    if let Some(location) = &filter.location {
        query.push(" and e.location = ").push_bind(location.clone());
    }
    if !filter.bands.is_empty() {
        query
            .push(" and r.band = any(")
            .push_bind(filter.bands.iter().map(|band| band.name()).collect::<Vec<_>>())
            .push(")");
    }
    for manager in [filter.manager, filter.team_of].into_iter().flatten() {
        query.push(" and e.manager = ").push_bind(Uuid::from(manager));
        if filter.at.is_some() {
            // Whoever was in the team at any time: few, and found by an index.
            query
                .push(" and e.id in (select employee from employee_version where tenant = ")
                .push_bind(Uuid::from(tenant))
                .push(" and manager = ")
                .push_bind(Uuid::from(manager))
                .push(")");
        }
    }
    if !filter.statuses.is_empty() {
        query
            .push(" and e.status = any(")
            .push_bind(filter.statuses.iter().map(|status| status.name()).collect::<Vec<_>>())
            .push(")");
    }
}

/// `from` everybody as they were, as `e`.
fn push_employees_at(query: &mut QueryBuilder<Postgres>, at: Moment) {
    query.push(" from employee_at(");
    query
        .push_bind(at.day)
        .push("::date, ")
        .push_bind(at.known_at)
        .push("::timestamptz) e");
}

/// The score of each `e` as it was, as `r`, for those who were scored then: employed, and not objecting.
fn push_risk_at(query: &mut QueryBuilder<Postgres>, at: Moment) {
    query.push(" lateral risk_at(e.tenant, e.id, ");
    query
        .push_bind(at.day)
        .push("::date, ")
        .push_bind(at.known_at)
        .push("::timestamptz) r on e.status = any(")
        .push_bind(employed())
        .push(") and not e.objects_to_scoring");
}

/// `from … where … and ` those who had a score, as `e` with the score as `r` and its entry in history as `h`: along the entries, from
/// the highest probability, of which those that were the last of their person then are taken.
fn push_scores_at(query: &mut QueryBuilder<Postgres>, tenant: TenantId, at: Moment) {
    query
        .push(" from risk_history h cross join lateral (select * from risk_at(h.tenant, h.employee, ")
        .push_bind(at.day)
        .push("::date, ")
        .push_bind(at.known_at)
        .push("::timestamptz) offset 0) r cross join lateral (select * from employee_at(")
        .push_bind(at.day)
        .push("::date, ")
        .push_bind(at.known_at)
        .push("::timestamptz) where (tenant, id) = (h.tenant, h.employee) offset 0) e where h.position = r.assessed_at and h.recorded_at <= ")
        .push_bind(at.known_at)
        .push(" and h.scored_at < ")
        .push_bind(at.day_ends())
        .push(" and e.status = any(")
        .push_bind(employed())
        .push(") and not e.objects_to_scoring and h.tenant = ")
        .push_bind(Uuid::from(tenant))
        .push(" and ");
}

/// The statuses of those who count as heads.
fn employed() -> Vec<&'static str> {
    let employed = Status::ALL.into_iter().filter(|status| status.is_employed());
    employed.map(Status::name).collect()
}

/// `LIKE` takes `%`, `_` and `\` as signs of its own.
fn escaped(part: &str) -> String {
    part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// How many employees a filter finds.
///
/// # Errors
/// When the database fails.
pub async fn count_employees(
    connection: &mut Connection,
    tenant: TenantId,
    filter: &Filter,
) -> Result<i64, DatabaseError> {
    let mut query = QueryBuilder::new("select count(*)");
    push_from(&mut query, tenant, filter, !filter.bands.is_empty(), false);
    query
        .build_query_scalar()
        .fetch_one(connection)
        .await
        .doing("count employees")
}

/// These employees, as far as they exist in the asker's reach, in any order.
///
/// # Errors
/// When the database fails.
pub async fn employees_by_id(
    connection: &mut Connection,
    tenant: TenantId,
    ids: &[EmployeeId],
    filter: &Filter,
    with_risk: bool,
) -> Result<Vec<FoundRow>, DatabaseError> {
    let mut query = QueryBuilder::new("select ");
    query.push(EMPLOYEE_COLUMNS);
    if with_risk {
        query.push(RISK_COLUMNS);
    }
    push_from(&mut query, tenant, filter, with_risk, false);
    query
        .push(" and e.id = any(")
        .push_bind(ids.iter().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
        .push(")");
    let found = query.build().fetch_all(connection).await.doing("find employees")?;
    let read = found.iter().map(|row| FoundRow::read(row, with_risk));
    read.collect::<Result<_, _>>().doing("read an employee")
}

/// Whose team is asked for, from where, and how much of it.
#[derive(Clone, PartialEq)]
pub struct TeamPage {
    pub manager: EmployeeId,
    /// The last name (lower case) and id of the page before; in the order of ids the name is not looked at.
    pub after: Option<(Option<String>, EmployeeId)>,
    pub limit: i64,
}

/// Pages of several teams in one statement: the index of the page, and the entry.
///
/// # Errors
/// When the database fails.
pub async fn teams(
    connection: &mut Connection,
    tenant: TenantId,
    pages: &[TeamPage],
    (by_name, at): (bool, Option<Moment>),
) -> Result<Vec<(usize, FoundRow)>, DatabaseError> {
    let mut query = QueryBuilder::new("select e.*, u.page from unnest(");
    query
        .push_bind(pages.iter().map(|page| Uuid::from(page.manager)).collect::<Vec<_>>())
        .push("::uuid[], ");
    query
        .push_bind(
            pages
                .iter()
                .map(|page| page.after.as_ref().and_then(|(name, _)| name.clone()))
                .collect::<Vec<_>>(),
        )
        .push("::text[], ");
    query
        .push_bind(
            pages
                .iter()
                .map(|page| page.after.as_ref().map(|(_, id)| Uuid::from(*id)))
                .collect::<Vec<_>>(),
        )
        .push("::uuid[], ");
    query.push_bind(pages.iter().map(|page| page.limit).collect::<Vec<_>>());
    query
        .push("::bigint[]) with ordinality as u(manager, after_name, after_id, lim, page) cross join lateral (select ");
    query.push(EMPLOYEE_COLUMNS);
    match at {
        Some(at) => push_employees_at(&mut query, at),
        None => drop(query.push(" from employee e")),
    }
    query.push(" where e.tenant = ").push_bind(Uuid::from(tenant));
    if at.is_some() {
        query
            .push(" and e.id in (select employee from employee_version where tenant = ")
            .push_bind(Uuid::from(tenant))
            .push(" and manager = u.manager)");
    }
    query.push(" and e.manager = u.manager and (u.after_id is null or ");
    if by_name {
        // The nameless are last; among them the id decides.
        query.push(
            "case when u.after_name is null then e.display_name is null and e.id > u.after_id
                  else e.display_name is null or (lower(e.display_name), e.id) > (u.after_name, u.after_id) end)
             order by lower(e.display_name) nulls last, e.id",
        );
    } else {
        query.push("e.id > u.after_id) order by e.id");
    }
    query.push(" limit u.lim) e order by u.page").push(if by_name {
        ", e.name_key nulls last, e.id"
    } else {
        ", e.id"
    });
    let rows: Vec<PgRow> = query.build().fetch_all(connection).await.doing("list teams")?;
    rows.iter()
        .map(|row| {
            let page: i64 = row.try_get("page").doing("list teams")?;
            Ok((
                usize::try_from(page - 1).unwrap_or(usize::MAX),
                FoundRow::read(row, false).doing("list teams")?,
            ))
        })
        .collect()
}

/// What a risk overview is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    Department,
    Location,
    Band,
    Manager,
}

/// Figures over one group of employed people.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct GroupRow {
    /// The department's or location's name, the band's, the manager's id; none: people who have none.
    pub key: Option<String>,
    pub headcount: i64,
    pub scored: i64,
    /// Over those who are scored.
    pub average: Option<f64>,
    pub low: i64,
    pub medium: i64,
    pub high: i64,
    pub critical: i64,
}

/// Risk by group, over everyone who is employed.
///
/// # Errors
/// When the database fails.
pub async fn risk_overview(
    connection: &mut Connection,
    tenant: TenantId,
    grouping: Grouping,
    at: Option<Moment>,
) -> Result<Vec<GroupRow>, DatabaseError> {
    let key = match grouping {
        Grouping::Department => "e.department",
        Grouping::Location => "e.location",
        Grouping::Band => "r.band",
        Grouping::Manager => "e.manager::text",
    };
    let mut query = QueryBuilder::new("select ");
    query.push(key);
    query.push(
        " as key, count(*) as headcount, count(r.employee) as scored, avg(r.probability) as average,
          count(*) filter (where r.band = 'LOW') as low, count(*) filter (where r.band = 'MEDIUM') as medium,
          count(*) filter (where r.band = 'HIGH') as high, count(*) filter (where r.band = 'CRITICAL') as critical",
    );
    match at {
        Some(at) => {
            push_versions_at(&mut query, tenant, at);
            query
                .push(
                    " left join lateral (select h.employee, h.probability, h.band from risk_history h
                        where h.tenant = e.tenant and h.employee = e.employee and h.recorded_at <= ",
                )
                .push_bind(at.known_at)
                .push(" and h.scored_at < ")
                .push_bind(at.day_ends())
                .push(" and h.probability is not null order by h.position desc limit 1) r on not e.objects_to_scoring where e.employed");
        }
        None => {
            query
                .push(
                    " from employee e left join risk r on r.tenant = e.tenant and r.employee = e.id where e.tenant = ",
                )
                .push_bind(Uuid::from(tenant))
                .push(" and e.status = any(")
                .push_bind(employed())
                .push(")");
        }
    }
    query.push(" group by 1 order by 1 nulls last");
    query
        .build_query_as()
        .fetch_all(connection)
        .await
        .doing("read the risk overview")
}

/// Heads of one department or team.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct HeadsRow {
    /// The department's name or the manager's id.
    pub key: String,
    pub headcount: i64,
    pub on_leave: i64,
    pub on_notice: i64,
    pub departed: i64,
}

/// A tenant's departments by name.
///
/// # Errors
/// When the database fails.
pub async fn departments(
    connection: &mut Connection,
    tenant: TenantId,
    at: Option<Moment>,
) -> Result<Vec<HeadsRow>, DatabaseError> {
    if let Some(at) = at {
        return heads_at(connection, tenant, "e.department", at).await;
    }
    sqlx::query_as("select department as key, headcount, on_leave, on_notice, departed from department_stats where tenant = $1 order by department")
        .bind(Uuid::from(tenant))
        .fetch_all(connection)
        .await
        .doing("list departments")
}

/// A tenant's teams by their managers' ids.
///
/// # Errors
/// When the database fails.
pub async fn team_heads(
    connection: &mut Connection,
    tenant: TenantId,
    at: Option<Moment>,
) -> Result<Vec<HeadsRow>, DatabaseError> {
    if let Some(at) = at {
        return heads_at(connection, tenant, "e.manager::text", at).await;
    }
    sqlx::query_as("select manager::text as key, headcount, on_leave, on_notice, departed from team_stats where tenant = $1 order by manager")
        .bind(Uuid::from(tenant))
        .fetch_all(connection)
        .await
        .doing("count teams")
}

/// Everybody's version of a day in the past, as `e`: for figures, in one pass over the versions.
fn push_versions_at(query: &mut QueryBuilder<Postgres>, tenant: TenantId, at: Moment) {
    query
        .push(" from (select *, standing in ('WORKING', 'ON_LEAVE') as employed from employee_version where tenant = ")
        .push_bind(Uuid::from(tenant))
        .push(" and effective_from <= ")
        .push_bind(at.day)
        .push(" and effective_to > ")
        .push_bind(at.day)
        .push(" and recorded_from <= ")
        .push_bind(at.known_at)
        .push(" and recorded_to > ")
        .push_bind(at.known_at)
        .push(") e");
}

/// Heads by `key`, of a day in the past.
async fn heads_at(
    connection: &mut Connection,
    tenant: TenantId,
    key: &str,
    at: Moment,
) -> Result<Vec<HeadsRow>, DatabaseError> {
    let mut query = QueryBuilder::new("select ");
    query.push(key).push(
        " as key, count(*) filter (where employed) as headcount, count(*) filter (where standing = 'ON_LEAVE' and notice_on is null) as on_leave,
          count(*) filter (where employed and notice_on is not null) as on_notice, count(*) filter (where standing = 'ENDED') as departed",
    );
    push_versions_at(&mut query, tenant, at);
    query
        .push(" where ")
        .push(key)
        .push(" is not null group by 1 order by 1");
    let found = query.build_query_as().fetch_all(connection).await;
    found.doing("count heads of a past day")
}

/// The last position of the log, and when it was recorded.
///
/// # Errors
/// When the database fails.
pub async fn log_head(connection: &mut Connection) -> Result<(i64, Timestamp), DatabaseError> {
    sqlx::query_as("select position, recorded_at from log_head")
        .fetch_one(connection)
        .await
        .doing("read the log's head")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_signs_are_taken_literally() {
        assert_eq!(escaped(r"50%_\"), r"50\%\_\\");
    }

    /// Values never become part of a statement, so that few statements are prepared and none is injected.
    #[test]
    fn filters_are_bound_not_pasted() {
        let filter = Filter {
            name_part: Some("x'; drop".into()),
            department: Some("y'".into()),
            bands: vec![Band::High],
            statuses: vec![Status::Active],
            ..Filter::default()
        };
        let page = Page {
            order: Order::Name,
            backwards: false,
            from: None,
            limit: 10,
            with_risk: true,
        };
        let query = page_query(
            TenantId::from_uuid(Uuid::nil()),
            &filter,
            &page,
            Stretch::Keyed,
            None,
            10,
        );
        let sql = query.into_string();
        assert!(
            !sql.contains("drop") && !sql.contains("y'") && !sql.contains("HIGH"),
            "{sql}"
        );
    }
}
