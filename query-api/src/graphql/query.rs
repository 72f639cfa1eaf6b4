//! The root of all questions. Every field names what it takes; `tests.rs` proves each against each role.

use async_graphql::{Context, ID, Object};
use domain::{Timestamp, policy::Permission};

use super::{
    employee::{self, Employee, EmployeeConnection, EmployeeFilter, ViewerInfo},
    heads::{self, Department, Team},
    models::{self, Model},
    overview::{self, RiskOverview},
    past,
    pay_change::{self, PayChangeConnection, PayChangeStage},
    program::{self, Program},
    scalar::{Day, EmployeeOrder, Grouping},
    tenant::{self, Connection, Status, Tenant},
    trends::{self, Range, Step, TrendPoint},
};
use crate::{
    access::{May, Viewer},
    cursor::Window,
    error::{ApiError, SharedError},
    freshness::Freshness,
    limits::page_cost,
};

pub struct Query;

#[Object]
impl Query {
    /// Employees within your reach.
    #[graphql(
        guard = "May(Permission::SeeEmployees)",
        complexity = "page_cost(first, last) * child_complexity + 1"
    )]
    #[expect(clippy::too_many_arguments, reason = "a connection's arguments and the filter")]
    async fn employees(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        filter: Option<EmployeeFilter>,
        #[graphql(default_with = "EmployeeOrder::Name")] order_by: EmployeeOrder,
        #[graphql(desc = "As it was at the end of this day (UTC); the day of `knownAt` if only that is given.")] as_of: Option<Day>,
        #[graphql(desc = "As far as it was recorded by then; left out: by all that is known today.")] known_at: Option<
            Timestamp,
        >,
    ) -> Result<EmployeeConnection, ApiError> {
        let at = past::moment(ctx, "employees", as_of, known_at).await?;
        employee::list(ctx, Window::new(first, after, last, before)?, filter, order_by, at).await
    }

    /// One employee; null when there is none with that id within your reach.
    #[graphql(guard = "May(Permission::SeeEmployees)")]
    async fn employee(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(desc = "As it was at the end of this day (UTC); the day of `knownAt` if only that is given.")] as_of: Option<Day>,
        #[graphql(desc = "As far as it was recorded by then; left out: by all that is known today.")] known_at: Option<
            Timestamp,
        >,
    ) -> Result<Option<Employee>, ApiError> {
        let at = past::moment(ctx, "employee", as_of, known_at).await?;
        employee::find(ctx, employee::employee_id(&id)?, at).await
    }

    /// Who you are to Tenure.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<ViewerInfo, SharedError> {
        employee::viewer_info(ctx).await
    }

    /// Risk over groups of employed people.
    #[graphql(guard = "May(Permission::SeeAggregates)")]
    async fn risk_overview(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Grouping::Department")] group_by: Grouping,
        #[graphql(desc = "As it was at the end of this day (UTC); the day of `knownAt` if only that is given.")] as_of: Option<Day>,
        #[graphql(desc = "As far as it was recorded by then; left out: by all that is known today.")] known_at: Option<
            Timestamp,
        >,
    ) -> Result<RiskOverview, ApiError> {
        overview::risk_overview(ctx, group_by, past::moment(ctx, "riskOverview", as_of, known_at).await?).await
    }

    /// Heads by department.
    #[graphql(guard = "May(Permission::SeeAggregates)")]
    async fn departments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was at the end of this day (UTC); the day of `knownAt` if only that is given.")] as_of: Option<Day>,
        #[graphql(desc = "As far as it was recorded by then; left out: by all that is known today.")] known_at: Option<
            Timestamp,
        >,
    ) -> Result<Vec<Department>, ApiError> {
        heads::departments(ctx, past::moment(ctx, "departments", as_of, known_at).await?).await
    }

    /// Heads by manager.
    #[graphql(guard = "May(Permission::SeeAggregates)")]
    async fn teams(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was at the end of this day (UTC); the day of `knownAt` if only that is given.")] as_of: Option<Day>,
        #[graphql(desc = "As far as it was recorded by then; left out: by all that is known today.")] known_at: Option<
            Timestamp,
        >,
    ) -> Result<Vec<Team>, ApiError> {
        heads::teams(ctx, past::moment(ctx, "teams", as_of, known_at).await?).await
    }

    /// Headcount, turnover, scores, and who was expected to leave beside who did: a point for each step from `from` to `to`.
    #[graphql(guard = "May(Permission::SeeAggregates)", complexity = "100 * child_complexity + 1")]
    #[expect(clippy::too_many_arguments, reason = "a range and what of it")]
    async fn trends(
        &self,
        ctx: &Context<'_>,
        from: Day,
        to: Day,
        #[graphql(default_with = "Step::Month")] step: Step,
        #[graphql(desc = "Only these people, for those who may see small groups; left out: everybody.")]
        department: Option<String>,
        #[graphql(desc = "As far as it was recorded by then; left out: by all that is known today.")] known_at: Option<
            Timestamp,
        >,
    ) -> Result<Vec<TrendPoint>, ApiError> {
        let range = Range {
            from,
            to,
            step,
            department,
            known_at,
        };
        trends::trends(ctx, range).await
    }

    /// The models that tell risks and readiness, with their cards and what became of their predictions: the newest first.
    #[graphql(guard = "May(Permission::SeeAggregates)", complexity = "100 * child_complexity + 1")]
    async fn models(&self, ctx: &Context<'_>) -> Result<Vec<Model>, ApiError> {
        models::models(ctx).await
    }

    /// Career programs, by name.
    #[graphql(complexity = "25 * child_complexity + 1")]
    async fn programs(&self, ctx: &Context<'_>) -> Result<Vec<Program>, ApiError> {
        program::programs(ctx).await
    }

    /// One career program; null when there is none with that id.
    async fn program(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Program>, ApiError> {
        program::find(ctx, &id).await
    }

    /// Changes of pay that were asked for here, of people within your reach: those last asked for first.
    #[graphql(
        guard = "May(Permission::SeeDetails)",
        complexity = "page_cost(first, None) * child_complexity + 1"
    )]
    async fn pay_changes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        #[graphql(default, desc = "Those at one of these stages; left out: at any.")] stages: Vec<PayChangeStage>,
        #[graphql(desc = "Of this employee only.")] employee: Option<ID>,
    ) -> Result<PayChangeConnection, SharedError> {
        let window = Window::new(first, after, None, None)?;
        pay_change::list(ctx, window, stages, employee.as_ref()).await
    }

    /// Connections to HRISs.
    #[graphql(guard = "May(Permission::ManageConnections)")]
    async fn connections(&self, ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
        tenant::connections(ctx).await
    }

    /// Your company.
    async fn tenant(&self, ctx: &Context<'_>) -> Result<Tenant, ApiError> {
        tenant::tenant(ctx).await
    }

    /// How far the event log and what is read from it are.
    async fn status(&self, ctx: &Context<'_>) -> Result<Status, SharedError> {
        Viewer::of(ctx)?;
        let freshness: &Freshness = ctx.data_opt().ok_or(ApiError::Corrupt("schema"))?;
        Ok(Status::from(&*freshness.progress().await?))
    }
}
