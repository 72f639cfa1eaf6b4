//! Requests are dropped at any moment. What they began in the database is finished or undone, and nobody meets it again.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use domain::id::TenantId;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::server::{self, PATIENCE, World, alone, code, execute, failed, number, on_purpose, run, shared};

/// Connections of one process (`APP_CONNECTIONS_MAX`): as many units of work at once get as many connections.
const CONNECTIONS: usize = 24;

/// Units of work that are cut off; `TENURE_CANCELLATIONS` asks for another number. Fewer, if the machine is slow.
const CANCELLATIONS: usize = 10_000;
const CANCELLATIONS_TIME_MAX: Duration = Duration::from_secs(20);

/// What units of work saw that they must not see: many have nobody left to tell.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn dropped_requests_leave_nothing_behind() {
    let asked = std::env::var("TENURE_CANCELLATIONS")
        .ok()
        .map(|number| number.parse::<usize>().expect("a number"));
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    run(async {
        let world = alone().await;
        let tenants: Vec<TenantId> = (0..7).map(|_| server::tenant()).collect();
        let started = Instant::now();
        let (mut count, mut told) = (0, Told::default());
        while count < asked.unwrap_or(CANCELLATIONS) && (asked.is_some() || started.elapsed() < CANCELLATIONS_TIME_MAX)
        {
            // More at once than there are connections, so that some are cut while they wait for one.
            let wave = (0..2 * CONNECTIONS).map(|n| {
                let random = StdRng::seed_from_u64(seed.wrapping_add((count + n) as u64));
                tokio::spawn(request(world.database.clone(), tenants[n % tenants.len()], random))
            });
            for request in futures_util::future::join_all(wave).await {
                told.add(request.expect("a request"));
            }
            count += 2 * CONNECTIONS;
        }
        eprintln!(
            "{count} requests: {} committed, {} failed, {} cut off",
            told.committed.len(),
            told.failed.len(),
            told.unknown
        );
        assert!(
            !told.committed.is_empty() && !told.failed.is_empty() && told.unknown > 0,
            "every fate is met"
        );
        assert_settled(&world).await;
        every_connection_is_clean(&world, &tenants).await;
        assert_eq!(*SEEN.lock().expect("no panic"), Vec::<String>::new());
        let stored: BTreeSet<Uuid> = sqlx::query_scalar("select id from outbox")
            .fetch_all(&world.owner)
            .await
            .expect("rows")
            .into_iter()
            .collect();
        assert!(told.committed.is_subset(&stored), "an acknowledged row is missing");
        assert!(told.failed.is_disjoint(&stored), "a refused row is there");
        world.close().await;
    });
}

/// What the requests were answered with.
#[derive(Default)]
struct Told {
    committed: BTreeSet<Uuid>,
    failed: BTreeSet<Uuid>,
    unknown: usize,
}

impl Told {
    fn add(&mut self, (id, fate): (Uuid, Option<bool>)) {
        match fate {
            Some(true) => drop(self.committed.insert(id)),
            Some(false) => drop(self.failed.insert(id)),
            None => self.unknown += 1,
        }
    }
}

/// One request, dropped somewhere; what became of it, if it was told.
async fn request(database: Database, tenant: TenantId, mut random: StdRng) -> (Uuid, Option<bool>) {
    let (id, how, fate) = (clock::new_id(), random.random_range(0..4), random.random_range(0..32));
    let within = Duration::from_micros(random.random_range(0..3_000));
    let unit = async move {
        database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move {
                    if let Err(error) = look_around(connection, tenant).await {
                        SEEN.lock().expect("no panic").push(format!("{error:?}"));
                    }
                    unit(connection, tenant, id, fate).await
                })
            })
            .await
    };
    let answer = match how {
        0 => tokio::time::timeout(within, unit).await.ok(),
        1 => {
            let task = tokio::spawn(unit);
            tokio::time::sleep(within).await;
            task.abort();
            task.await.ok()
        }
        2 => {
            let turns = random.random_range(0..20);
            let yields = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                answer = unit => Some(answer),
                () = yields => None,
            }
        }
        _ => Some(unit.await),
    };
    (id, answer.map(|answer| answer.is_ok()))
}

/// A connection must be as new, whatever happened on it before.
async fn look_around(connection: &mut Connection, tenant: TenantId) -> Result<(), DatabaseError> {
    let setting = tenants_named(connection).await?;
    if setting != format!("{{{tenant}}}") {
        SEEN.lock()
            .expect("no panic")
            .push(format!("{tenant} works as {setting}"));
    }
    let strangers = number(connection, &strangers_of(tenant)).await?;
    if strangers != 0 {
        SEEN.lock()
            .expect("no panic")
            .push(format!("{tenant} sees {strangers} rows of others"));
    }
    Ok(())
}

async fn tenants_named(connection: &mut Connection) -> Result<String, DatabaseError> {
    sqlx::query_scalar("select current_setting('app.tenants')")
        .fetch_one(connection)
        .await
        .map_err(failed)
}

fn strangers_of(tenant: TenantId) -> String {
    format!("select count(*) from outbox where tenant <> '{tenant}'")
}

/// What a request does.
async fn unit(connection: &mut Connection, tenant: TenantId, id: Uuid, fate: u8) -> Result<(), DatabaseError> {
    let row = format!("insert into outbox values ('{id}', '{tenant}', 'employee', '{id}', '', '', '{id}')");
    execute(connection, &row).await?;
    match fate {
        0..4 => Err(on_purpose()),
        4..8 => execute(connection, "select 1 / 0").await.map(drop),
        8 => std::panic::resume_unwind(Box::new("on purpose")), // without a word on the screen
        9..13 => execute(connection, "select pg_sleep(0.002)").await.map(drop),
        _ => Ok(()),
    }
}

/// Nothing is in a transaction any more. What was dropped is still finishing by itself: waited for, with a bound far below
/// the 60 s after which Postgres would tidy up for us.
async fn assert_settled(world: &World) {
    let open = "select count(*) from pg_stat_activity where datname = current_database() and usename = 'tenure_app' and xact_start is not null";
    let settled = async {
        while world.owner_number(open).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE / 3, settled)
        .await
        .expect("a transaction was left open");
}

/// Takes all connections at once and looks at each.
async fn every_connection_is_clean(world: &World, tenants: &[TenantId]) {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let all_here = Arc::new(Barrier::new(CONNECTIONS));
        let units = tenants.iter().cycle().take(CONNECTIONS).map(|tenant| {
            let (all_here, tenant_named) = (Arc::clone(&all_here), *tenant);
            let work = world
                .database
                .transact(Access::Write, std::slice::from_ref(tenant), move |connection| {
                    Box::pin(async move {
                        let waited = tokio::time::timeout(PATIENCE / 6, all_here.wait()).await;
                        waited.map_err(|_| on_purpose())?;
                        assert_eq!(tenants_named(connection).await?, format!("{{{tenant_named}}}"));
                        assert_eq!(number(connection, &strangers_of(tenant_named)).await?, 0);
                        number(connection, "select pg_backend_pid()::bigint").await
                    })
                });
            async move {
                match work.await {
                    Ok(backend) => Some(backend),
                    // Making so many connections took this machine too long, and the others waited in vain: once more.
                    Err(
                        DatabaseError::Failed {
                            cause: sqlx::Error::PoolTimedOut,
                            ..
                        }
                        | DatabaseError::Corrupt(_),
                    ) => None,
                    Err(error) => panic!("not a clean connection: {error:?}"),
                }
            }
        });
        let backends: Vec<Option<i64>> = futures_util::future::join_all(units).await;
        if let Some(backends) = backends.into_iter().collect::<Option<BTreeSet<i64>>>() {
            assert_eq!(backends.len(), CONNECTIONS);
            return;
        }
    }
    panic!("not all connections could be had at once");
}

#[test]
fn work_that_panics_does_not_poison_the_pool() {
    run(async {
        let world = alone().await;
        let tenants = [server::tenant(), server::tenant()];
        for n in 0..3 * CONNECTIONS {
            let tenant = tenants[n % 2];
            let result: Result<(), _> = world
                .database
                .transact(Access::Write, &[tenant], move |connection| {
                    Box::pin(async move {
                        let row = format!("insert into tenant_directory values ('{tenant}')");
                        execute(connection, &row).await?;
                        std::panic::resume_unwind(Box::new("on purpose"))
                    })
                })
                .await;
            assert!(matches!(result, Err(DatabaseError::CutOff)), "{result:?}");
        }
        assert_settled(&world).await;
        every_connection_is_clean(&world, &tenants).await;
        assert_eq!(world.owner_number("select count(*) from tenant_directory").await, 0);
        world.close().await;
    });
}

/// Dropping the request does not undo it: what it began goes on to its end.
#[test]
fn a_dropped_request_is_finished() {
    run(async {
        let world = shared().await;
        let tenant = server::tenant();
        let tenants = [tenant];
        let (has_begun, begun) = tokio::sync::oneshot::channel();
        let (go_on, is_dropped) = tokio::sync::oneshot::channel::<()>();
        let mut request = Box::pin(world.database.transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move {
                has_begun.send(()).expect("the test waits");
                is_dropped.await.expect("the test goes on");
                let row = format!("insert into tenant_directory values ('{tenant}')");
                execute(connection, &row).await
            })
        }));
        tokio::select! {
            _ = &mut request => panic!("it waits for us"),
            begun = begun => begun.expect("begun"),
        }
        drop(request);
        go_on.send(()).expect("it waits");
        let rows = format!("select count(*) from tenant_directory where tenant = '{tenant}'");
        while world.owner_number(&rows).await == 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// Postgres answers the commit of a failed transaction with a rollback, and calls that a success.
#[test]
fn work_that_hides_a_failure_is_not_acknowledged() {
    run(async {
        let world = shared().await;
        let tenant = server::tenant();
        let result = world
            .database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move {
                    let row = format!("insert into tenant_directory values ('{tenant}')");
                    execute(connection, &row).await?;
                    execute(connection, "select 1 / 0").await.expect_err("division by zero");
                    Ok(())
                })
            })
            .await;
        assert_eq!(code(result), "25P02", "it was rolled back, and must say so");
    });
}

/// A server that restarts ends its connections; those of the pool learn of it when they are used next.
#[test]
fn connections_that_the_server_ended_are_replaced() {
    run(async {
        let world = alone().await;
        let tenants = [server::tenant()];
        every_connection_is_clean(&world, &tenants).await;
        let end_others = "with others as materialized
               (select pid from pg_stat_activity where datname = current_database() and usename = current_user and pid <> pg_backend_pid())
             select count(*) from others where pg_terminate_backend(pid)";
        let ended = world.number(&tenants, end_others).await.expect("ended");
        assert_eq!(ended, CONNECTIONS as i64 - 1);
        let left =
            "select count(*) from pg_stat_activity where datname = current_database() and usename = 'tenure_app'";
        while world.owner_number(left).await > 1 {
            tokio::task::yield_now().await;
        }
        every_connection_is_clean(&world, &tenants).await;
        world.close().await;
    });
}
