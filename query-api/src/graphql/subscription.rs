//! What is told as it happens.

use std::collections::VecDeque;

use async_graphql::{Context, ID, SimpleObject, Subscription as Subscribable};
use domain::{id::EmployeeId, policy::Permission};
use futures_util::{Stream, stream};
use infra::read_model::query::{self, Filter};

use super::{
    employee::{self, Employee},
    risk::Risk,
};
use crate::{
    access::{May, Viewer},
    changes::{Change, Listener},
    error::{ApiError, SharedError},
    limits::TEXT_CHARS_MAX,
    store::Store,
};

pub struct Subscription;

/// A score that changed just now.
#[derive(SimpleObject)]
pub struct RiskChange {
    pub employee: Employee,
    /// Null: the person is no longer scored.
    pub risk: Option<Risk>,
}

#[Subscribable]
impl Subscription {
    /// Scores that change, of people within your reach; only of one employee or one department, if named.
    #[graphql(guard = "May(Permission::SeeEmployees).and(May(Permission::SeeRisk))")]
    async fn risk_changed(
        &self,
        ctx: &Context<'_>,
        employee: Option<ID>,
        department: Option<String>,
    ) -> Result<impl Stream<Item = Result<RiskChange, SharedError>> + use<>, ApiError> {
        if department
            .as_ref()
            .is_some_and(|name| name.chars().count() > TEXT_CHARS_MAX)
        {
            return Err(ApiError::bad_input(format!(
                "a department has {TEXT_CHARS_MAX} characters at most"
            )));
        }
        let employee = employee.as_ref().map(employee::employee_id).transpose()?;
        let store = employee::store(ctx)?.clone();
        let watch = Watch {
            viewer: Viewer::of(ctx)?.clone(),
            listener: store.changes.subscribe(),
            store,
            employee,
            department,
            waiting: VecDeque::new(),
        };
        Ok(stream::unfold(watch, |mut watch| async move {
            watch.next().await.map(|change| (change, watch))
        }))
    }
}

/// One subscription: what it watches for, and what it has yet to tell.
struct Watch {
    viewer: Viewer,
    listener: Listener,
    store: Store,
    employee: Option<EmployeeId>,
    department: Option<String>,
    waiting: VecDeque<RiskChange>,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<RiskChange, SharedError>> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Some(Ok(change));
            }
            let announced = self.listener.next(self.viewer.0.tenant).await?;
            let concerned = concerned(&announced, self.employee);
            if concerned.is_empty() {
                continue;
            }
            match self.look_up(concerned).await {
                Ok(changes) => self.waiting.extend(changes),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    /// What changed for these people, as far as the viewer reaches them now.
    async fn look_up(&self, employees: Vec<EmployeeId>) -> Result<Vec<RiskChange>, ApiError> {
        let Some(scope) = self.viewer.scope() else {
            return Ok(vec![]);
        };
        let filter = Filter {
            department: self.department.clone(),
            ..scope
        };
        let tenant = self.viewer.0.tenant;
        let found = self
            .store
            .read(tenant, move |connection| {
                Box::pin(async move { query::employees_by_id(connection, tenant, &employees, &filter, true).await })
            })
            .await?;
        Ok(found
            .into_iter()
            .filter(|found| self.viewer.reaches(&found.employee))
            .map(|found| RiskChange {
                risk: found.risk.clone().map(|row| Risk(row.into())),
                employee: Employee::with_score(found, None),
            })
            .collect())
    }
}

fn concerned(change: &Change, only: Option<EmployeeId>) -> Vec<EmployeeId> {
    change
        .employees
        .iter()
        .copied()
        .filter(|employee| only.is_none_or(|only| only == *employee))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::id::TenantId;
    use uuid::Uuid;

    #[test]
    fn one_employee_s_subscription_is_not_concerned_by_others() {
        let [one, two] = [1, 2].map(|id| EmployeeId::from_uuid(Uuid::from_u128(id)));
        let change = Change {
            tenant: TenantId::from_uuid(Uuid::nil()),
            employees: vec![one, two],
        };
        assert_eq!(concerned(&change, None), [one, two]);
        assert_eq!(concerned(&change, Some(two)), [two]);
        assert!(concerned(&change, Some(EmployeeId::from_uuid(Uuid::from_u128(3)))).is_empty());
    }
}
