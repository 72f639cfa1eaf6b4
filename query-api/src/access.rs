//! Who asks, and what `domain::policy` lets them see. Every guard of the schema is here.

use async_graphql::{Context, Guard};
use domain::{
    id::EmployeeId,
    policy::{Actor, Permission, Reach},
};
use hmac::{Hmac, Mac};
use infra::read_model::{employee::EmployeeRow, query::Filter};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::ApiError;

/// The person behind a request.
#[derive(Debug, Clone)]
pub struct Viewer(pub Actor);

impl Viewer {
    pub fn of<'c>(ctx: &Context<'c>) -> Result<&'c Self, ApiError> {
        // A request without a viewer is none: default is no.
        ctx.data_opt::<Self>().ok_or(ApiError::Forbidden)
    }

    pub const fn may(&self, permission: Permission) -> bool {
        self.0.may(permission)
    }

    pub fn require(&self, permission: Permission) -> Result<(), ApiError> {
        if self.may(permission) {
            Ok(())
        } else {
            Err(ApiError::Forbidden)
        }
    }

    /// Whether the viewer's permissions reach this person.
    pub fn reaches(&self, row: &EmployeeRow) -> bool {
        if row.tenant != Uuid::from(self.0.tenant) {
            return false;
        }
        match self.0.reach() {
            Reach::Nobody => false,
            Reach::TeamOf(manager) => row.manager == Some(Uuid::from(manager)),
            Reach::WholeTenant => true,
        }
    }

    /// The part of the tenant that the viewer reaches, as a filter; none: nobody.
    pub fn scope(&self) -> Option<Filter> {
        match self.0.reach() {
            Reach::Nobody => None,
            Reach::TeamOf(manager) => Some(Filter {
                team_of: Some(manager),
                ..Filter::default()
            }),
            Reach::WholeTenant => Some(Filter::default()),
        }
    }

    /// Whether the viewer is this person.
    pub fn is(&self, row: &EmployeeRow) -> bool {
        row.tenant == Uuid::from(self.0.tenant) && self.0.employee.is_some_and(|own| Uuid::from(own) == row.id)
    }
}

/// A field that needs a permission.
pub struct May(pub Permission);

impl Guard for May {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        Ok(Viewer::of(ctx)?.require(self.0)?)
    }
}

/// Makes names for people whose names are not to be seen: the same for the same person, and no way back.
#[derive(Clone)]
pub struct Pseudonyms(std::sync::Arc<Zeroizing<Vec<u8>>>);

impl Pseudonyms {
    pub fn new(key: Zeroizing<Vec<u8>>) -> Self {
        Self(std::sync::Arc::new(key))
    }

    pub fn of(&self, viewer: &Viewer, employee: EmployeeId) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(Uuid::from(viewer.0.tenant).as_bytes());
        mac.update(Uuid::from(employee).as_bytes());
        let hash = mac.finalize().into_bytes();
        format!("Employee {:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use domain::{Date, id::TenantId, policy::Role};

    pub fn tenant() -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(1))
    }

    /// The employee who the store manager of these tests is.
    pub fn manager() -> EmployeeId {
        EmployeeId::from_uuid(Uuid::from_u128(50))
    }

    pub fn viewer(role: Role) -> Viewer {
        Viewer(Actor {
            tenant: tenant(),
            role,
            subject: "s".into(),
            employee: (role == Role::StoreManager).then(manager),
        })
    }

    pub fn row(id: u128, manager: Option<EmployeeId>) -> EmployeeRow {
        EmployeeRow {
            tenant: tenant().uuid(),
            id: Uuid::from_u128(id),
            connection: None,
            remote_id: None,
            display_name: Some("Ada Lovelace".into()),
            work_email: Some("ada@example.com".into()),
            work_phone: Some("+44 1".into()),
            mobile_phone: Some("+44 2".into()),
            job_title: Some("Cashier".into()),
            department: Some("Front".into()),
            division: None,
            location: Some("Leeds".into()),
            manager: manager.map(Uuid::from),
            status: "ACTIVE".into(),
            hired_on: Date::from_ymd_opt(2024, 2, 1).expect("a day"),
            left_on: None,
            last_day: None,
            notice_on: None,
            weekly_minutes: Some(2_250),
            objects_to_scoring: false,
            next_change_on: None,
            position: 9,
        }
    }

    #[test]
    fn reach_is_the_own_team_or_the_own_tenant() {
        let (mine, others) = (row(2, Some(manager())), row(3, None));
        let mut foreign = row(4, Some(manager()));
        foreign.tenant = Uuid::from_u128(2);
        for (role, expected) in [
            (Role::StoreManager, [true, false, false]),
            (Role::HrManager, [true, true, false]),
            (Role::Executive, [false, false, false]),
            (Role::Analyst, [true, true, false]),
            (Role::Admin, [true, true, false]),
        ] {
            let viewer = viewer(role);
            assert_eq!(
                [&mine, &others, &foreign].map(|row| viewer.reaches(row)),
                expected,
                "{}",
                role.name()
            );
        }
        let mut nobody = viewer(Role::StoreManager);
        nobody.0.employee = None;
        assert!(!nobody.reaches(&mine) && nobody.scope().is_none());
    }

    #[test]
    fn pseudonyms_are_stable_keyed_and_of_one_tenant() {
        let pseudonyms = Pseudonyms::new(Zeroizing::new(vec![1; 32]));
        let analyst = viewer(Role::Analyst);
        let first = pseudonyms.of(&analyst, manager());
        assert_eq!(first, pseudonyms.of(&analyst, manager()));
        assert_eq!(first.len(), "Employee ".len() + 8);
        assert_ne!(
            first,
            Pseudonyms::new(Zeroizing::new(vec![2; 32])).of(&analyst, manager())
        );
        let mut elsewhere = analyst.clone();
        elsewhere.0.tenant = TenantId::from_uuid(Uuid::from_u128(2));
        assert_ne!(first, pseudonyms.of(&elsewhere, manager()));
    }
}
