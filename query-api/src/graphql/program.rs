//! Career programs, and how ready people are to move up in them.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, SimpleObject, connection::PageInfo};
use domain::{
    Timestamp,
    id::{EmployeeId, ProgramId, TenantId},
    policy::{GROUP_SIZE_MIN, Permission, Reach},
    risk::Level as LevelName,
};
use infra::read_model::{
    query::{Key, Order},
    readiness::{self, ProgramRow, ReadinessRow},
};
use uuid::Uuid;

use super::{
    employee::{Employee, loaders, store},
    flat::Flat,
    risk::{RiskFactor, factors},
    scalar::Position,
};
use crate::{
    access::Viewer,
    cursor::{self, Window},
    error::{ApiError, SharedError},
    limits::page_cost,
    loaders::PersonKey,
};

/// From which jobs to which jobs people move up.
pub struct Program(Arc<ProgramRow>);

/// Whether a program takes candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ProgramStatus")]
pub enum Status {
    Open,
    Closed,
}

/// How far somebody is, against the usual rate among all candidates of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ReadinessLevel", remote = "domain::risk::Level")]
pub enum Level {
    /// Below the usual rate.
    Early,
    /// From the usual rate on.
    Developing,
    /// From twice the usual rate on.
    Ready,
}

/// How many candidates are at each level.
#[derive(SimpleObject)]
pub struct LevelCounts {
    pub early: i64,
    pub developing: i64,
    pub ready: i64,
}

#[Object]
impl Program {
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whoever has one of these job titles is a candidate.
    async fn titles_from(&self) -> &[String] {
        &self.0.titles_from
    }

    /// Whoever comes to have one of these has made it.
    async fn titles_to(&self) -> &[String] {
        &self.0.titles_to
    }

    async fn status(&self) -> Status {
        if self.0.is_open() { Status::Open } else { Status::Closed }
    }

    /// The version of the model in use. Null: there is not enough history to tell how ready anybody is.
    async fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// The version that runs beside it on the same candidates, unseen.
    async fn challenger(&self) -> Option<&str> {
        self.0.challenger.as_deref()
    }

    /// How many candidates are at each level. Null: there are none, or too few for the viewer to see figures of.
    async fn levels(&self, ctx: &Context<'_>) -> Result<Option<LevelCounts>, ApiError> {
        let viewer = Viewer::of(ctx)?;
        viewer.require(Permission::SeeAggregates)?;
        let (tenant, program) = self.key(viewer.0.tenant);
        let counts = store(ctx)?
            .read(tenant, move |connection| {
                Box::pin(async move { readiness::level_counts(connection, tenant, program).await })
            })
            .await?;
        let total: i64 = counts.iter().map(|(_, count)| count).sum();
        let of = |level: LevelName| {
            let found = counts.iter().find(|(name, _)| name == level.name());
            found.map_or(0, |(_, count)| *count)
        };
        let is_shown = total >= GROUP_SIZE_MIN || (total > 0 && viewer.may(Permission::SeeSmallGroups));
        Ok(is_shown.then(|| LevelCounts {
            early: of(LevelName::Early),
            developing: of(LevelName::Developing),
            ready: of(LevelName::Ready),
        }))
    }

    /// The candidates within your reach, the readiest first.
    #[graphql(complexity = "page_cost(first, None) * child_complexity + 1")]
    async fn candidates(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<CandidateConnection, ApiError> {
        let viewer = Viewer::of(ctx)?;
        viewer.require(Permission::SeeEmployees)?;
        viewer.require(Permission::SeeRisk)?;
        let window = Window::new(first, after, None, None)?;
        let manager = match viewer.0.reach() {
            Reach::WholeTenant => None,
            Reach::TeamOf(manager) => Some(Uuid::from(manager)),
            Reach::Nobody => return Ok(CandidateConnection::new(vec![], &window)),
        };
        let after = match window
            .cursor
            .as_deref()
            .map(|cursor| cursor::to_key(cursor, Order::Risk))
            .transpose()?
        {
            Some(Key::Risk(Some(probability), id)) => Some((probability, Uuid::from(id))),
            Some(Key::Risk(None, _) | Key::Name(..) | Key::Id(_)) | None => None,
        };
        let key = self.key(viewer.0.tenant);
        let limit = i64::from(window.size) + 1;
        let rows = store(ctx)?
            .read(key.0, move |connection| {
                Box::pin(async move { readiness::candidates(connection, key, manager, after, limit).await })
            })
            .await?;
        Ok(CandidateConnection::new(rows, &window))
    }
}

impl Program {
    fn key(&self, tenant: TenantId) -> (TenantId, ProgramId) {
        (tenant, ProgramId::from_uuid(self.0.id))
    }
}

/// How ready somebody is to move up in a program: the probability of doing so within the horizon, for one who stays.
pub struct Readiness(pub ReadinessRow);

#[Object]
impl Readiness {
    /// Null if the program is not there any more.
    async fn program(&self, ctx: &Context<'_>) -> Result<Option<Program>, SharedError> {
        let tenant = Viewer::of(ctx)?.0.tenant;
        let key = (tenant, ProgramId::from_uuid(self.0.program));
        Ok(loaders(ctx)?.programs.load_one(key).await?.map(Arc::new).map(Program))
    }

    /// Whom it is about; null if the record is not there (yet).
    async fn employee(&self, ctx: &Context<'_>) -> Result<Option<Employee>, SharedError> {
        let viewer = Viewer::of(ctx)?;
        let key = PersonKey::today(viewer.0.tenant, EmployeeId::from_uuid(self.0.employee));
        let row = loaders(ctx)?.people.load_one(key).await?;
        Ok(row.filter(|row| viewer.reaches(row)).map(Employee::new))
    }

    /// Calibrated, 0 to 1.
    async fn probability(&self) -> f64 {
        self.0.probability
    }

    async fn horizon_days(&self) -> i16 {
        self.0.horizon_days
    }

    async fn level(&self) -> Result<Level, ApiError> {
        let level = LevelName::from_name(&self.0.level).ok_or(ApiError::Corrupt("level"))?;
        Ok(level.into())
    }

    /// What moved the score most, largest first.
    async fn factors(&self) -> Flat<Vec<RiskFactor<'_>>> {
        factors(&self.0.factors)
    }

    /// The version of the model.
    async fn model(&self) -> &str {
        &self.0.model
    }

    async fn scored_at(&self) -> Timestamp {
        self.0.scored_at
    }

    /// The place in the event log that the score was made from.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }

    /// The digest of the model's inputs: the same inputs, model and day give the same score.
    async fn vector(&self) -> &str {
        &self.0.vector
    }
}

/// Candidates, a page at a time.
pub struct CandidateConnection {
    rows: Vec<ReadinessRow>,
    has_next: bool,
    has_previous: bool,
}

/// A candidate and their place in the list.
#[derive(SimpleObject)]
pub struct CandidateEdge {
    pub cursor: String,
    pub node: Readiness,
}

impl CandidateConnection {
    /// `rows` may hold one more than the window: that there is more.
    fn new(mut rows: Vec<ReadinessRow>, window: &Window) -> Self {
        let size = usize::try_from(window.size).unwrap_or(0);
        let has_next = rows.len() > size;
        rows.truncate(size);
        Self {
            rows,
            has_next,
            has_previous: window.cursor.is_some(),
        }
    }
}

fn cursor_of(row: &ReadinessRow) -> String {
    cursor::of_key(Key::Risk(Some(row.probability), EmployeeId::from_uuid(row.employee)))
}

#[Object]
impl CandidateConnection {
    async fn edges(&self) -> Vec<CandidateEdge> {
        let edge = |row: &ReadinessRow| CandidateEdge {
            cursor: cursor_of(row),
            node: Readiness(row.clone()),
        };
        self.rows.iter().map(edge).collect()
    }

    async fn nodes(&self) -> Vec<Readiness> {
        self.rows.iter().cloned().map(Readiness).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: self.rows.first().map(cursor_of),
            end_cursor: self.rows.last().map(cursor_of),
        }
    }
}

pub async fn find(ctx: &Context<'_>, id: &ID) -> Result<Option<Program>, ApiError> {
    let tenant = Viewer::of(ctx)?.0.tenant;
    let id =
        Uuid::parse_str(id).map_err(|_| ApiError::bad_input("a program's id is a UUID, as `programs` gives it"))?;
    let row = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { readiness::load_program(connection, tenant, id).await })
        })
        .await?;
    Ok(row.map(Arc::new).map(Program))
}

/// The viewer's programs, by name.
pub async fn programs(ctx: &Context<'_>) -> Result<Vec<Program>, ApiError> {
    let tenant = Viewer::of(ctx)?.0.tenant;
    let rows = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { readiness::programs(connection, tenant).await })
        })
        .await?;
    Ok(rows.into_iter().map(Arc::new).map(Program).collect())
}
