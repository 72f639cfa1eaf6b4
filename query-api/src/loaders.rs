//! Batched reads for what hangs on many employees at once. Made anew for each request; keys contain the tenant.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_graphql::dataloader::{DataLoader, Loader};
use domain::id::{EmployeeId, ProgramId, TenantId};
use infra::{
    read_model::{
        employee::EmployeeRow,
        query::{self, Filter, FoundRow, Moment, TeamPage},
        readiness::{self, ProgramRow, ReadinessRow},
        risk::{self, RiskHistoryRow, RiskRow},
        timeline::{self, TimelineRow},
    },
    sealing::{Keyring, Subject, SubjectKey},
};
use uuid::Uuid;

use crate::{
    error::{ApiError, SharedError},
    store::Store,
};

/// The reads of one request.
pub struct Loaders {
    pub people: DataLoader<People>,
    pub risks: DataLoader<Risks>,
    pub readiness: DataLoader<Readiness>,
    pub programs: DataLoader<Programs>,
    pub teams: DataLoader<Teams>,
    pub timelines: DataLoader<Timelines>,
    pub risk_histories: DataLoader<RiskHistories>,
    pub keys: DataLoader<SubjectKeys>,
}

impl Loaders {
    pub fn new(store: &Store) -> Self {
        Self {
            people: DataLoader::new(People(store.clone()), tokio::spawn),
            risks: DataLoader::new(Risks(store.clone()), tokio::spawn),
            readiness: DataLoader::new(Readiness(store.clone()), tokio::spawn),
            programs: DataLoader::new(Programs(store.clone()), tokio::spawn),
            teams: DataLoader::new(Teams(store.clone()), tokio::spawn),
            timelines: DataLoader::new(Timelines(store.clone()), tokio::spawn),
            risk_histories: DataLoader::new(RiskHistories(store.clone()), tokio::spawn),
            keys: DataLoader::new(SubjectKeys(store.keyring.clone()), tokio::spawn),
        }
    }
}

/// A person in a tenant, today or as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PersonKey {
    pub tenant: TenantId,
    pub employee: EmployeeId,
    pub at: Option<Moment>,
}

impl PersonKey {
    pub const fn today(tenant: TenantId, employee: EmployeeId) -> Self {
        Self {
            tenant,
            employee,
            at: None,
        }
    }
}

pub struct People(Store);

impl Loader<PersonKey> for People {
    type Value = EmployeeRow;
    type Error = SharedError;

    async fn load(&self, keys: &[PersonKey]) -> Result<HashMap<PersonKey, EmployeeRow>, SharedError> {
        let found = found(&self.0, keys, false).await?;
        Ok(found.into_iter().map(|(key, found)| (key, found.employee)).collect())
    }
}

/// What there is of `keys`, with scores or without.
async fn found(
    store: &Store,
    keys: &[PersonKey],
    with_risk: bool,
) -> Result<HashMap<PersonKey, FoundRow>, SharedError> {
    let mut found = HashMap::with_capacity(keys.len());
    for ((tenant, at), keys) in by_tenant(keys) {
        let rows = store
            .read(tenant, move |connection| {
                Box::pin(async move {
                    let filter = Filter {
                        at,
                        ..Filter::default()
                    };
                    query::employees_by_id(connection, tenant, &keys, &filter, with_risk).await
                })
            })
            .await?;
        found.extend(rows.into_iter().map(|row| {
            let employee = EmployeeId::from_uuid(row.employee.id);
            (PersonKey { tenant, employee, at }, row)
        }));
    }
    Ok(found)
}

pub struct Risks(Store);

impl Loader<PersonKey> for Risks {
    type Value = RiskRow;
    type Error = SharedError;

    async fn load(&self, keys: &[PersonKey]) -> Result<HashMap<PersonKey, RiskRow>, SharedError> {
        let found = found(&self.0, keys, true).await?;
        Ok(found
            .into_iter()
            .filter_map(|(key, found)| Some((key, found.risk?)))
            .collect())
    }
}

pub struct Readiness(Store);

/// Of today: what is kept of the past is not enough to show.
impl Loader<(TenantId, EmployeeId)> for Readiness {
    type Value = Vec<ReadinessRow>;
    type Error = SharedError;

    async fn load(
        &self,
        keys: &[(TenantId, EmployeeId)],
    ) -> Result<HashMap<(TenantId, EmployeeId), Vec<ReadinessRow>>, SharedError> {
        let mut found: HashMap<(TenantId, EmployeeId), Vec<ReadinessRow>> = HashMap::with_capacity(keys.len());
        let tenants: BTreeSet<TenantId> = keys.iter().map(|(tenant, _)| *tenant).collect();
        for tenant in tenants {
            let of_tenant = keys.iter().filter(|(of, _)| *of == tenant);
            let keys: Vec<_> = of_tenant.map(|(tenant, id)| (*tenant, Uuid::from(*id))).collect();
            let rows = self
                .0
                .read(tenant, move |connection| {
                    Box::pin(async move { readiness::load(connection, &keys).await })
                })
                .await?;
            for row in rows {
                let key = (tenant, EmployeeId::from_uuid(row.employee));
                found.entry(key).or_default().push(row);
            }
        }
        Ok(found)
    }
}

/// A tenant has a few programs: all of them are read at once.
pub struct Programs(Store);

impl Loader<(TenantId, ProgramId)> for Programs {
    type Value = ProgramRow;
    type Error = SharedError;

    async fn load(
        &self,
        keys: &[(TenantId, ProgramId)],
    ) -> Result<HashMap<(TenantId, ProgramId), ProgramRow>, SharedError> {
        let tenants: BTreeSet<TenantId> = keys.iter().map(|(tenant, _)| *tenant).collect();
        let mut found = HashMap::new();
        for tenant in tenants {
            let rows = self
                .0
                .read(tenant, move |connection| {
                    Box::pin(async move { readiness::programs(connection, tenant).await })
                })
                .await?;
            found.extend(
                rows.into_iter()
                    .map(|row| ((tenant, ProgramId::from_uuid(row.id)), row)),
            );
        }
        Ok(found)
    }
}

fn by_tenant(keys: &[PersonKey]) -> BTreeMap<(TenantId, Option<Moment>), Vec<EmployeeId>> {
    let mut by_tenant: BTreeMap<_, Vec<EmployeeId>> = BTreeMap::new();
    for key in keys {
        by_tenant.entry((key.tenant, key.at)).or_default().push(key.employee);
    }
    by_tenant
}

/// A page of somebody's team.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TeamKey {
    pub tenant: TenantId,
    pub manager: EmployeeId,
    pub after: Option<(Option<String>, EmployeeId)>,
    pub limit: i64,
    pub by_name: bool,
    pub at: Option<Moment>,
}

pub struct Teams(Store);

impl Loader<TeamKey> for Teams {
    type Value = Vec<FoundRow>;
    type Error = SharedError;

    async fn load(&self, keys: &[TeamKey]) -> Result<HashMap<TeamKey, Vec<FoundRow>>, SharedError> {
        let mut groups: BTreeMap<(TenantId, bool, Option<Moment>), Vec<TeamKey>> = BTreeMap::new();
        for key in keys {
            groups
                .entry((key.tenant, key.by_name, key.at))
                .or_default()
                .push(key.clone());
        }
        let mut found: HashMap<TeamKey, Vec<FoundRow>> = HashMap::with_capacity(keys.len());
        for ((tenant, by_name, at), keys) in groups {
            let pages: Vec<TeamPage> = keys
                .iter()
                .map(|key| TeamPage {
                    manager: key.manager,
                    after: key.after.clone(),
                    limit: key.limit,
                })
                .collect();
            let rows = self
                .0
                .read(tenant, move |connection| {
                    Box::pin(async move { query::teams(connection, tenant, &pages, (by_name, at)).await })
                })
                .await?;
            for (index, row) in rows {
                if let Some(key) = keys.get(index) {
                    found.entry(key.clone()).or_default().push(row);
                }
            }
        }
        Ok(found)
    }
}

/// A page of what is kept about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageKey {
    pub tenant: TenantId,
    pub employee: EmployeeId,
    pub page: timeline::Page,
}

fn by_page(keys: &[PageKey]) -> BTreeMap<(TenantId, timeline::Page), Vec<EmployeeId>> {
    let mut by_page: BTreeMap<_, Vec<EmployeeId>> = BTreeMap::new();
    for key in keys {
        by_page.entry((key.tenant, key.page)).or_default().push(key.employee);
    }
    by_page
}

pub struct Timelines(Store);

impl Loader<PageKey> for Timelines {
    type Value = Vec<TimelineRow>;
    type Error = SharedError;

    async fn load(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Vec<TimelineRow>>, SharedError> {
        let mut found: HashMap<PageKey, Vec<TimelineRow>> = HashMap::with_capacity(keys.len());
        for ((tenant, page), people) in by_page(keys) {
            let read = self.0.read(tenant, move |connection| {
                Box::pin(async move { timeline::pages(connection, tenant, &people, page).await })
            });
            for row in read.await? {
                let employee = EmployeeId::from_uuid(row.employee);
                found.entry(PageKey { tenant, employee, page }).or_default().push(row);
            }
        }
        Ok(found)
    }
}

pub struct RiskHistories(Store);

impl Loader<PageKey> for RiskHistories {
    type Value = Vec<RiskHistoryRow>;
    type Error = SharedError;

    async fn load(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Vec<RiskHistoryRow>>, SharedError> {
        let mut found: HashMap<PageKey, Vec<RiskHistoryRow>> = HashMap::with_capacity(keys.len());
        for ((tenant, page), people) in by_page(keys) {
            let read = self.0.read(tenant, move |connection| {
                Box::pin(async move { risk::history_pages(connection, tenant, &people, page).await })
            });
            for row in read.await? {
                let employee = EmployeeId::from_uuid(row.employee);
                found.entry(PageKey { tenant, employee, page }).or_default().push(row);
            }
        }
        Ok(found)
    }
}

/// The keys that personal values are opened with. None: never had one, or erased.
pub struct SubjectKeys(Keyring);

impl Loader<Subject> for SubjectKeys {
    type Value = SubjectKey;
    type Error = SharedError;

    async fn load(&self, keys: &[Subject]) -> Result<HashMap<Subject, SubjectKey>, SharedError> {
        Ok(self.0.subjects(keys).await.map_err(ApiError::from)?)
    }
}
