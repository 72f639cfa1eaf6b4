//! Changes of pay that are asked for here and made elsewhere.

use async_graphql::{ComplexObject, Context, Enum, ID, Object, SimpleObject, connection::PageInfo};
use domain::{
    Aggregate, Personal, StreamId, Timestamp,
    id::{EmployeeId, EventId, TenantId},
    money::{self, PayRate},
    pay_change::{Event, PayChanges, Request, Stage},
    policy::Reach,
};
use infra::{
    read_model::pay_change::{self, Page, PayChangeRow, Standing},
    sealing::{Place, SubjectKey, open_payload},
};
use schemas::codec::AnyEvent;

use super::{
    employee::{Employee, employee_id, loaders, store},
    scalar::Day,
};
use crate::{
    access::Viewer,
    cursor::{self, Window},
    error::{ApiError, SharedError},
    loaders::PersonKey,
};

/// What the command is called that asks for a change: its event has the rate.
const REQUESTED: &str = "pay-change.requested";

/// Where a change of pay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Stage")]
pub enum PayChangeStage {
    Requested,
    Approved,
    /// Begun to be submitted: it may be at the other system, or not.
    Submitting,
    /// Taken by the other system, which does not show it yet.
    Submitted,
    /// The other system shows the rate from the day on.
    Accepted,
    Declined,
    /// Taken back before it was submitted.
    Withdrawn,
    /// Begun to be submitted, and nobody waits for it any more: it may be at the other system, or not.
    Abandoned,
    /// Refused by the other system: `cause` and `message` say why.
    Rejected,
    /// The day has come, and the other system still shows the rate.
    Effective,
    /// Accepted once, and not what the other system has for the day any more.
    Overtaken,
}

/// A change of somebody's pay that was asked for here.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct PayChange {
    #[graphql(skip)]
    of: EmployeeId,
    #[graphql(skip)]
    requested_position: i64,
    pub id: ID,
    pub stage: PayChangeStage,
    /// The new rate; null when it is no longer readable.
    pub to: Option<Rate>,
    /// The first day with it.
    pub effective_on: Day,
    pub reason: Option<String>,
    /// The connection to the system that it is made in.
    pub connection: ID,
    pub requested_by: String,
    pub requested_at: Timestamp,
    /// Who approved, declined, withdrew or abandoned it: the last of them.
    pub decided_by: Option<String>,
    pub changed_at: Timestamp,
    /// What the other system calls it.
    pub reference: Option<String>,
    /// Why it was rejected: `refused`, `day-taken` (another rate begins on the day), `differs` or `not-shown`.
    pub cause: Option<String>,
    /// The other system's own words.
    pub message: Option<String>,
    /// What keeps it from going on, while something does: such as `unavailable`, `unauthorised`, `forbidden`, `disconnected`,
    /// `nothing-there`, `pay-hidden`, `not-shown-yet`, `unconfirmed` (sent, and nobody knows what became of it).
    pub waiting_for: Option<String>,
}

/// So much for a time.
#[derive(Clone, SimpleObject)]
pub struct Rate {
    /// Exactly, such as `60000.00`.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    pub per: PayPeriod,
}

/// What a rate of pay is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "money::PayPeriod")]
pub enum PayPeriod {
    Hour,
    Day,
    Week,
    EveryTwoWeeks,
    /// Twice a month.
    Semimonthly,
    Month,
    Quarter,
    EverySixMonths,
    Year,
}

impl From<&PayRate> for Rate {
    fn from(rate: &PayRate) -> Self {
        Self {
            amount: rate.amount.decimal(),
            currency: rate.amount.currency.code().to_owned(),
            per: rate.per.into(),
        }
    }
}

#[ComplexObject]
impl PayChange {
    /// Whose pay it is.
    async fn employee(&self, ctx: &Context<'_>) -> Result<Option<Employee>, SharedError> {
        let viewer = Viewer::of(ctx)?;
        let key = PersonKey::today(viewer.0.tenant, self.of);
        Ok(loaders(ctx)?.people.load_one(key).await?.map(Employee::new))
    }
}

impl PayChange {
    /// Opens what is sealed of it.
    fn open(tenant: TenantId, standing: Standing, key: Option<&SubjectKey>) -> Result<Self, ApiError> {
        let Standing { row, waiting_for } = standing;
        let request = request(tenant, &row, key).ok_or(ApiError::Corrupt("pay_change"))?;
        let stage = Stage::from_name(&row.stage).ok_or(ApiError::Corrupt("pay_change"))?;
        Ok(Self {
            of: EmployeeId::from_uuid(row.employee),
            requested_position: row.requested_position,
            id: ID(row.id.to_string()),
            stage: stage.into(),
            to: request.to.open().map(Rate::from),
            effective_on: Day(row.effective_on),
            reason: request.reason.as_ref().and_then(Personal::open).cloned(),
            connection: ID(row.connection.to_string()),
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            decided_by: row.decided_by,
            changed_at: row.changed_at,
            reference: row.reference,
            cause: row.cause,
            message: row.message,
            waiting_for: waiting_for.filter(|_| stage.is_under_way()),
        })
    }
}

fn request(tenant: TenantId, row: &PayChangeRow, key: Option<&SubjectKey>) -> Option<Request> {
    let mut payload = serde_json::from_slice(&row.data).ok()?;
    let stream = StreamId::new(tenant, PayChanges::KIND, row.employee);
    let place = Place {
        stream: &stream,
        event_id: EventId::from_uuid(row.event_id),
        schema_version: row.schema_version,
    };
    open_payload(key, place, &mut payload);
    match AnyEvent::decode(REQUESTED, row.schema_version, payload) {
        Ok(AnyEvent::PayChange(Event::Requested(request))) => Some(request),
        Ok(_) | Err(_) => None,
    }
}

/// Changes of pay, those last asked for first.
pub struct PayChangeConnection {
    entries: Vec<PayChange>,
    has_next: bool,
    has_previous: bool,
}

/// An entry in a list.
#[derive(SimpleObject)]
pub struct PayChangeEdge {
    cursor: String,
    node: PayChange,
}

#[Object]
impl PayChangeConnection {
    async fn edges(&self) -> Vec<PayChangeEdge> {
        self.entries
            .iter()
            .map(|entry| PayChangeEdge {
                cursor: cursor::of_position(entry.requested_position),
                node: entry.clone(),
            })
            .collect()
    }

    async fn nodes(&self) -> &[PayChange] {
        &self.entries
    }

    async fn page_info(&self) -> PageInfo {
        let cursor = |entry: Option<&PayChange>| entry.map(|entry| cursor::of_position(entry.requested_position));
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: cursor(self.entries.first()),
            end_cursor: cursor(self.entries.last()),
        }
    }
}

/// Those within the viewer's reach, at some stages (at any, if none is named), of an employee (of all, if none is named).
pub async fn list(
    ctx: &Context<'_>,
    window: Window,
    stages: Vec<PayChangeStage>,
    employee: Option<&ID>,
) -> Result<PayChangeConnection, SharedError> {
    let viewer = Viewer::of(ctx)?;
    let team_of = match viewer.0.reach() {
        Reach::WholeTenant => None,
        Reach::TeamOf(manager) => Some(manager),
        Reach::Nobody => return Err(ApiError::Forbidden.into()),
    };
    let page = Page {
        stages: stages.into_iter().map(|stage| Stage::from(stage).name()).collect(),
        team_of,
        employee: employee.map(employee_id).transpose()?,
        before: window.cursor.as_deref().map(cursor::to_position).transpose()?,
        limit: i64::from(window.size) + 1,
    };
    let tenant = viewer.0.tenant;
    let mut found = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { pay_change::page(connection, tenant, &page).await })
        })
        .await?;
    let size = usize::try_from(window.size).unwrap_or(0);
    let has_next = found.len() > size;
    found.truncate(size);
    let subjects: Vec<_> = found.iter().map(|found| (tenant, found.row.employee)).collect();
    let keys = loaders(ctx)?.keys.load_many(subjects).await?;
    let entries = found.into_iter().map(|found| {
        let key = keys.get(&(tenant, found.row.employee));
        PayChange::open(tenant, found, key)
    });
    Ok(PayChangeConnection {
        entries: entries.collect::<Result<_, _>>()?,
        has_next,
        has_previous: window.cursor.is_some(),
    })
}
