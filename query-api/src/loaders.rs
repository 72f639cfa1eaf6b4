//! Batched reads for what hangs on many employees at once. Made anew for each request; keys contain the tenant.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_graphql::dataloader::{DataLoader, Loader};
use domain::id::{EmployeeId, ProgramId, TenantId};
use infra::read_model::{
    employee::{self, EmployeeRow},
    query::{self, FoundRow, TeamPage},
    readiness::{self, ProgramRow, ReadinessRow},
    risk::{self, RiskRow},
};
use uuid::Uuid;

use crate::{error::SharedError, store::Store};

/// The reads of one request.
pub struct Loaders {
    pub people: DataLoader<People>,
    pub risks: DataLoader<Risks>,
    pub readiness: DataLoader<Readiness>,
    pub programs: DataLoader<Programs>,
    pub teams: DataLoader<Teams>,
}

impl Loaders {
    pub fn new(store: &Store) -> Self {
        Self {
            people: DataLoader::new(People(store.clone()), tokio::spawn),
            risks: DataLoader::new(Risks(store.clone()), tokio::spawn),
            readiness: DataLoader::new(Readiness(store.clone()), tokio::spawn),
            programs: DataLoader::new(Programs(store.clone()), tokio::spawn),
            teams: DataLoader::new(Teams(store.clone()), tokio::spawn),
        }
    }
}

/// A person in a tenant.
pub type PersonKey = (TenantId, EmployeeId);

pub struct People(Store);

impl Loader<PersonKey> for People {
    type Value = EmployeeRow;
    type Error = SharedError;

    async fn load(&self, keys: &[PersonKey]) -> Result<HashMap<PersonKey, EmployeeRow>, SharedError> {
        let mut found = HashMap::with_capacity(keys.len());
        for (tenant, keys) in by_tenant(keys) {
            let rows = self
                .0
                .read(tenant, move |connection| {
                    Box::pin(async move { employee::load(connection, &keys).await })
                })
                .await?;
            found.extend(
                rows.into_iter()
                    .map(|row| ((tenant, EmployeeId::from_uuid(row.id)), row)),
            );
        }
        Ok(found)
    }
}

pub struct Risks(Store);

impl Loader<PersonKey> for Risks {
    type Value = RiskRow;
    type Error = SharedError;

    async fn load(&self, keys: &[PersonKey]) -> Result<HashMap<PersonKey, RiskRow>, SharedError> {
        let mut found = HashMap::with_capacity(keys.len());
        for (tenant, keys) in by_tenant(keys) {
            let rows = self
                .0
                .read(tenant, move |connection| {
                    Box::pin(async move { risk::load(connection, &keys).await })
                })
                .await?;
            found.extend(
                rows.into_iter()
                    .map(|row| ((tenant, EmployeeId::from_uuid(row.employee)), row)),
            );
        }
        Ok(found)
    }
}

pub struct Readiness(Store);

impl Loader<PersonKey> for Readiness {
    type Value = Vec<ReadinessRow>;
    type Error = SharedError;

    async fn load(&self, keys: &[PersonKey]) -> Result<HashMap<PersonKey, Vec<ReadinessRow>>, SharedError> {
        let mut found: HashMap<PersonKey, Vec<ReadinessRow>> = HashMap::with_capacity(keys.len());
        for (tenant, keys) in by_tenant(keys) {
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

fn by_tenant(keys: &[PersonKey]) -> BTreeMap<TenantId, Vec<(TenantId, Uuid)>> {
    let mut by_tenant: BTreeMap<TenantId, Vec<(TenantId, Uuid)>> = BTreeMap::new();
    for (tenant, employee) in keys {
        by_tenant
            .entry(*tenant)
            .or_default()
            .push((*tenant, Uuid::from(*employee)));
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
}

pub struct Teams(Store);

impl Loader<TeamKey> for Teams {
    type Value = Vec<FoundRow>;
    type Error = SharedError;

    async fn load(&self, keys: &[TeamKey]) -> Result<HashMap<TeamKey, Vec<FoundRow>>, SharedError> {
        let mut groups: BTreeMap<(TenantId, bool), Vec<TeamKey>> = BTreeMap::new();
        for key in keys {
            groups.entry((key.tenant, key.by_name)).or_default().push(key.clone());
        }
        let mut found: HashMap<TeamKey, Vec<FoundRow>> = HashMap::with_capacity(keys.len());
        for ((tenant, by_name), keys) in groups {
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
                    Box::pin(async move { query::teams(connection, tenant, &pages, by_name).await })
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
