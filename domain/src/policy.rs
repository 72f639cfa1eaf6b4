//! Who may see and do what. Every service asks here; default is no.

use serde::{Deserialize, Serialize};

use crate::{
    employee,
    id::{EmployeeId, TenantId},
    pay_change, program, risk,
};

/// The smallest group whose aggregate an executive or analyst sees.
pub const GROUP_SIZE_MIN: i64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    StoreManager,
    HrManager,
    Executive,
    Analyst,
    Admin,
}

impl Role {
    pub const ALL: [Self; 5] = [
        Self::StoreManager,
        Self::HrManager,
        Self::Executive,
        Self::Analyst,
        Self::Admin,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StoreManager => "store_manager",
            Self::HrManager => "hr_manager",
            Self::Executive => "executive",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }
}

/// What someone may be allowed to do, independent of whom it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See single employees (which ones: [`Actor::reach`]).
    SeeEmployees,
    /// See names and pictures.
    SeeNames,
    /// See addresses and phone numbers.
    SeeContacts,
    /// See the details of a person's timeline: notes, ratings, pay.
    SeeDetails,
    /// See scores of single employees.
    SeeRisk,
    /// See figures over groups.
    SeeAggregates,
    /// See figures over groups smaller than [`GROUP_SIZE_MIN`].
    SeeSmallGroups,
    /// See all of that of past days, as it was and as it was known.
    SeeHistory,
    WriteNotes,
    /// Reviews, assessments, surveys, absences, overtime, recognition, notice.
    RecordFacts,
    ReviewRisk,
    ManageConnections,
    ManageModels,
    ManageTenant,
    /// Define and close career programs.
    ManagePrograms,
    /// Objections and erasure.
    ManagePrivacy,
    /// Ask for changes of pay, and take back what was asked for.
    RequestPayChanges,
    /// Decide about changes of pay that somebody else asked for.
    ApprovePayChanges,
    /// Say that a fact was recorded in the past (imports of history).
    Backfill,
}

impl Permission {
    pub const ALL: [Self; 19] = [
        Self::SeeEmployees,
        Self::SeeNames,
        Self::SeeContacts,
        Self::SeeDetails,
        Self::SeeRisk,
        Self::SeeAggregates,
        Self::SeeSmallGroups,
        Self::SeeHistory,
        Self::WriteNotes,
        Self::RecordFacts,
        Self::ReviewRisk,
        Self::ManageConnections,
        Self::ManageModels,
        Self::ManageTenant,
        Self::ManagePrograms,
        Self::ManagePrivacy,
        Self::RequestPayChanges,
        Self::ApprovePayChanges,
        Self::Backfill,
    ];
}

/// Which employees someone's permissions reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody in person.
    Nobody,
    /// The people whose manager is this employee.
    TeamOf(EmployeeId),
    WholeTenant,
}

/// An authenticated person (or a part of the product acting on its own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub tenant: TenantId,
    pub role: Role,
    /// The token's subject.
    pub subject: String,
    /// Who the person is among the employees, if they are one.
    pub employee: Option<EmployeeId>,
}

impl Actor {
    #[must_use]
    pub const fn may(&self, permission: Permission) -> bool {
        allows(self.role, permission)
    }

    #[must_use]
    pub const fn reach(&self) -> Reach {
        match (self.role, self.employee) {
            (Role::HrManager | Role::Analyst | Role::Admin, _) => Reach::WholeTenant,
            (Role::StoreManager, Some(employee)) => Reach::TeamOf(employee),
            (Role::StoreManager, None) | (Role::Executive, _) => Reach::Nobody,
        }
    }
}

/// The role matrix.
#[must_use]
pub const fn allows(role: Role, permission: Permission) -> bool {
    match role {
        Role::StoreManager => matches!(
            permission,
            Permission::SeeEmployees
                | Permission::SeeNames
                | Permission::SeeContacts
                | Permission::SeeDetails
                | Permission::SeeRisk
                | Permission::WriteNotes
                | Permission::RecordFacts
                | Permission::ReviewRisk
                | Permission::RequestPayChanges
        ),
        Role::HrManager => !matches!(
            permission,
            Permission::ManageModels | Permission::ManageTenant | Permission::Backfill
        ),
        Role::Executive => matches!(permission, Permission::SeeAggregates | Permission::SeeHistory),
        Role::Analyst => matches!(
            permission,
            Permission::SeeEmployees
                | Permission::SeeRisk
                | Permission::SeeAggregates
                | Permission::SeeHistory
                | Permission::ManageModels
        ),
        Role::Admin => true,
    }
}

/// What it takes to send a command about an employee. `None`: nobody may, only the product itself.
#[must_use]
pub const fn for_employee_command(command: &employee::Command) -> Option<Permission> {
    match command {
        employee::Command::Synchronise(_) | employee::Command::HearOfExit(_) | employee::Command::HearOfStay(_) => None,
        employee::Command::WriteNote(_) => Some(Permission::WriteNotes),
        employee::Command::GiveNotice(_)
        | employee::Command::CompleteAssessment(_)
        | employee::Command::RecordReview(_)
        | employee::Command::AnswerSurvey(_)
        | employee::Command::GiveRecognition(_)
        | employee::Command::RecordAbsence(_)
        | employee::Command::RecordOvertime(_) => Some(Permission::RecordFacts),
        employee::Command::ObjectToScoring(_)
        | employee::Command::WithdrawObjection(_)
        | employee::Command::Erase(_) => Some(Permission::ManagePrivacy),
    }
}

/// What it takes to send a command about a risk.
#[must_use]
pub const fn for_risk_command(command: &risk::Command) -> Option<Permission> {
    match command {
        risk::Command::Assess(_) | risk::Command::AssessReadiness(_) => None,
        risk::Command::ReviewRisk(_) => Some(Permission::ReviewRisk),
    }
}

/// What it takes to send a command about a change of pay. `None`: nobody may, only the product itself.
#[must_use]
pub const fn for_pay_change_command(command: &pay_change::Command) -> Option<Permission> {
    match command {
        pay_change::Command::Request(_) | pay_change::Command::Withdraw(_) => Some(Permission::RequestPayChanges),
        pay_change::Command::Approve(_) | pay_change::Command::Decline(_) | pay_change::Command::Abandon(_) => {
            Some(Permission::ApprovePayChanges)
        }
        pay_change::Command::BeginSubmission(_)
        | pay_change::Command::ReportSubmitted(_)
        | pay_change::Command::ReportAccepted(_)
        | pay_change::Command::ReportRejected(_)
        | pay_change::Command::ReportEffective(_)
        | pay_change::Command::ReportOvertaken(_) => None,
    }
}

/// What it takes to send a command about a career program.
#[must_use]
pub const fn for_program_command(command: &program::Command) -> Permission {
    match command {
        program::Command::Define { .. } | program::Command::Close { .. } => Permission::ManagePrograms,
        program::Command::PromoteModel { .. } | program::Command::Challenge { .. } => Permission::ManageModels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole matrix, spelled out: a change of it is a change of this table, seen in review.
    #[test]
    fn the_role_matrix() {
        let table: Vec<String> = Role::ALL
            .iter()
            .map(|&role| {
                let cells: String = Permission::ALL
                    .iter()
                    .map(|&permission| if allows(role, permission) { 'x' } else { '.' })
                    .collect();
                format!("{cells} {}", role.name())
            })
            .collect();
        assert_eq!(
            table,
            [
                "xxxxx...xxx.....x.. store_manager",
                "xxxxxxxxxxxx..xxxx. hr_manager",
                ".....x.x........... executive",
                "x...xx.x....x...... analyst",
                "xxxxxxxxxxxxxxxxxxx admin",
            ]
        );
    }

    #[test]
    fn a_store_manager_reaches_the_own_team_and_an_executive_nobody() {
        let employee = EmployeeId::from_uuid(uuid::Uuid::from_u128(5));
        let actor = |role, employee| Actor {
            tenant: TenantId::from_uuid(uuid::Uuid::nil()),
            role,
            subject: "s".into(),
            employee,
        };
        assert_eq!(
            actor(Role::StoreManager, Some(employee)).reach(),
            Reach::TeamOf(employee)
        );
        assert_eq!(actor(Role::StoreManager, None).reach(), Reach::Nobody);
        assert_eq!(actor(Role::Executive, Some(employee)).reach(), Reach::Nobody);
        assert_eq!(actor(Role::HrManager, None).reach(), Reach::WholeTenant);
    }
}
