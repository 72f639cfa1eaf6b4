//! Changes of pay: `POST /v1/employees/{id}/pay-changes`, and what is decided about them.

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use domain::{
    Date, Kind, Personal, StreamId,
    employee::Source,
    id::{EmployeeId, PayChangeId},
    money::{Currency, Money, PayPeriod, PayRate},
    pay_change::{Command, Decision, Declining, Request},
    policy::{self, Actor, Permission},
};
use infra::{clock, database::Access, read_model::employee as employee_table};
use schemas::codec::AnyCommand;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    COMMAND_BYTES_MAX,
    commands::{self, CommandAnswer},
};
use crate::{
    CommandService, actor_name,
    payroll::{self, Nowhere},
    problem::Problem,
};

pub fn router() -> Router<CommandService> {
    Router::new()
        .route("/v1/employees/{id}/pay-changes", post(request_pay_change))
        .route(
            "/v1/employees/{id}/pay-changes/{change}/{decision}",
            post(decide_pay_change),
        )
}

/// Which rate is to hold from which day on.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestPayChange {
    /// The new rate.
    to: Rate,
    /// The first day with the new rate. The day may be past: what is owed since then is the payroll's to work out.
    #[schema(value_type = String, format = Date)]
    effective_on: Date,
    /// The rate that begins on that day already, and that this one replaces. Left out: none does.
    instead_of: Option<Rate>,
    reason: Option<String>,
}

/// So much for a time.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Such as `60000.00`, or `31.50` for an hour.
    amount: String,
    /// Such as `EUR` (ISO 4217).
    #[schema(value_type = String)]
    currency: Currency,
    /// What it is paid for: `HOUR`, `DAY`, `WEEK`, `EVERY_TWO_WEEKS`, `SEMIMONTHLY`, `MONTH`, `QUARTER`, `EVERY_SIX_MONTHS` or `YEAR`.
    #[schema(value_type = String)]
    per: PayPeriod,
}

impl Rate {
    fn read(&self) -> Result<Personal<PayRate>, Problem> {
        let amount = Money::parse(&self.amount, self.currency)
            .map_err(|problem| Problem::bad_request(format!("the amount does not read: {problem}")))?;
        Ok(Personal::Open(PayRate { amount, per: self.per }))
    }
}

/// What is said with a decision.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecidePayChange {
    /// Why it is declined.
    reason: Option<String>,
}

/// Asks for a change of pay. When somebody else has approved it, it is made in the system that pays the employee, and counts when that
/// shows it: GraphQL `payChanges` tells where it stands. The answer's `id` is the change's.
#[utoipa::path(
    post, path = "/v1/employees/{id}/pay-changes",
    params(
        ("id" = String, Path, description = "The employee"),
        ("Idempotency-Key" = String, Header, description = "Chosen by the client: the same request under the same key counts once"),
    ),
    request_body = RequestPayChange,
    responses(
        (status = 200, body = CommandAnswer),
        (status = 202, body = CommandAnswer, description = "Durable; see `Location`"),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 404, body = inline(super::ProblemDocument)),
        (status = 409, body = inline(super::ProblemDocument), description = "A rule was broken, or nothing can be written to where the employee comes from"),
    ),
    security(("bearer" = []))
)]
pub async fn request_pay_change(
    State(service): State<CommandService>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = super::actor(&service.verifier, &headers).await?;
    let (asked, request) = read::<RequestPayChange>(body).await?;
    let request =
        request.ok_or_else(|| Problem::bad_request("Say in the body which rate is to hold from which day on"))?;
    let employee = someone_else(&actor, &id)?;
    permitted(&service, &actor, employee, Permission::RequestPayChanges).await?;
    let stream = StreamId::new(actor.tenant, Kind::PayChange, employee);
    // What is found out below may be something else by now, or not to be had.
    if let Some(answer) = commands::answered(&service, (&actor, &headers), (&stream, &asked)).await? {
        return Ok(answer);
    }
    let to = request.to.read()?;
    let command = Command::Request(Request {
        change: PayChangeId::from_uuid(commands::command_id(&actor, &headers)?.uuid()),
        at: written_at(&service, (&actor, employee), (&to, request.effective_on)).await?,
        to,
        effective_on: request.effective_on,
        instead_of: request.instead_of.as_ref().map(Rate::read).transpose()?,
        reason: request.reason.map(Personal::Open),
        by: actor_name(&actor),
        on: clock::today(),
    });
    let command = (stream, AnyCommand::PayChange(command));
    commands::send_asked(&service, (&actor, &headers), command, &asked).await
}

/// Decides about a change of pay that somebody else asked for (`approve`, `decline`), or takes back what one has asked for (`withdraw`), as
/// long as nobody has begun to submit it. `abandon` waits no longer for one that was begun: whether it is at the other system is then for
/// people to find out.
#[utoipa::path(
    post, path = "/v1/employees/{id}/pay-changes/{change}/{decision}",
    params(
        ("id" = String, Path, description = "The employee"),
        ("change" = String, Path, description = "As answered when it was asked for"),
        ("decision" = String, Path, description = "`approve`, `decline`, `withdraw` or `abandon`"),
        ("Idempotency-Key" = String, Header),
    ),
    request_body = DecidePayChange,
    responses(
        (status = 200, body = CommandAnswer),
        (status = 202, body = CommandAnswer),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 404, body = inline(super::ProblemDocument)),
        (status = 409, body = inline(super::ProblemDocument), description = "A rule was broken; nothing changed"),
    ),
    security(("bearer" = []))
)]
pub async fn decide_pay_change(
    State(service): State<CommandService>,
    Path((id, change, decision)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = super::actor(&service.verifier, &headers).await?;
    let (body, said) = read::<DecidePayChange>(body).await?;
    let said = said.unwrap_or_default();
    let employee = someone_else(&actor, &id)?;
    let change = change
        .parse()
        .map_err(|_| Problem::not_found("There is no change of pay with this id"))?;
    let (by, on) = (actor_name(&actor), clock::today());
    let decided = Decision {
        change,
        by: by.clone(),
        on,
    };
    let command = match (decision.as_str(), said.reason) {
        ("approve", None) => Command::Approve(decided),
        ("withdraw", None) => Command::Withdraw(decided),
        ("abandon", None) => Command::Abandon(decided),
        ("decline", reason) => Command::Decline(Declining {
            change,
            by,
            reason: reason.map(Personal::Open),
            on,
        }),
        ("approve" | "withdraw" | "abandon", Some(_)) => {
            return Err(Problem::bad_request("only `decline` takes a reason"));
        }
        (other, _) => return Err(unknown(other)),
    };
    let permission = policy::for_pay_change_command(&command).ok_or_else(|| unknown(&decision))?;
    permitted(&service, &actor, employee, permission).await?;
    let stream = StreamId::new(actor.tenant, Kind::PayChange, employee);
    let asked = [format!("{decision} {change} ").as_bytes(), &body].concat();
    let command = (stream, AnyCommand::PayChange(command));
    commands::send_asked(&service, (&actor, &headers), command, &asked).await
}

/// Nobody has a hand in their own pay.
fn someone_else(actor: &Actor, id: &str) -> Result<EmployeeId, Problem> {
    let employee: EmployeeId = id.parse().map_err(|_| nobody())?;
    if actor.employee == Some(employee) {
        return Err(Problem::forbidden(
            "Nobody asks for a change of their own pay, or decides about one",
        ));
    }
    Ok(employee)
}

async fn permitted(
    service: &CommandService,
    actor: &Actor,
    employee: EmployeeId,
    permission: Permission,
) -> Result<(), Problem> {
    commands::require(actor, permission)?;
    if commands::reaches(service, actor, employee).await? {
        Ok(())
    } else {
        Err(nobody())
    }
}

/// Where changes of an employee's pay are made, and whom that system knows the employee as.
async fn written_at(
    service: &CommandService,
    (actor, employee): (&Actor, EmployeeId),
    (rate, effective_on): (&Personal<PayRate>, Date),
) -> Result<Source, Problem> {
    let tenant = actor.tenant;
    let rows = service
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { employee_table::load(connection, &[(tenant, employee.uuid())]).await })
        })
        .await?;
    let row = rows.into_iter().next().ok_or_else(nobody)?;
    let nowhere = |why: String| {
        Problem::new(
            StatusCode::CONFLICT,
            "not-written-to",
            "Tenure cannot change this employee's pay where they are paid",
            why,
        )
    };
    if effective_on < row.hired_on {
        let hired_on = row.hired_on;
        return Err(Problem::bad_request(format!(
            "{effective_on} is before the first day of work, {hired_on}"
        )));
    }
    let (payroll, source) = payroll::written_at(service, &row)
        .await
        .map_err(|problem| match problem {
            Nowhere::Source(problem) if problem.is_retryable() => Problem::unavailable(problem.to_string()),
            Nowhere::Database(problem) => problem.into(),
            Nowhere::Connection(problem) => problem.into(),
            Nowhere::NoSource
            | Nowhere::Disconnected
            | Nowhere::OnlyRead(_)
            | Nowhere::NoAddress
            | Nowhere::Nobody
            | Nowhere::Several
            | Nowhere::Shared
            | Nowhere::Source(_) => nowhere(problem.to_string()),
        })?;
    match rate.open().and_then(|rate| payroll.refused(rate)) {
        Some(why) => Err(nowhere(why.to_owned())),
        None => Ok(source),
    }
}

/// What a body says, however it is written, and as it reads; none if nothing is said.
async fn read<T: DeserializeOwned>(body: Body) -> Result<(Vec<u8>, Option<T>), Problem> {
    let bytes = axum::body::to_bytes(body, COMMAND_BYTES_MAX)
        .await
        .map_err(|_| Problem::bad_request("The request is too large"))?;
    let unreadable = |error: serde_json::Error| Problem::bad_request(format!("The request does not read: {error}"));
    let bytes = bytes.trim_ascii();
    let said: Option<Value> = if bytes.is_empty() {
        None
    } else {
        serde_json::from_slice(bytes).map_err(unreadable)?
    };
    let Some(said) = said else {
        return Ok((Vec::new(), None));
    };
    let asked = serde_json::to_vec(&said).map_err(unreadable)?;
    // From the text, so that a problem is told with its place.
    let read = serde_json::from_slice(bytes).map_err(unreadable)?;
    Ok((asked, Some(read)))
}

fn nobody() -> Problem {
    Problem::not_found("There is no employee with this id, or none whom you may see")
}

fn unknown(decision: &str) -> Problem {
    let decision: String = decision.chars().take(50).collect();
    Problem::not_found(format!(
        "{decision:?} is not what can be done with a change of pay: `approve`, `decline`, `withdraw` and `abandon` are"
    ))
}
