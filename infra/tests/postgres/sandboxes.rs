//! Sandboxes: what is inside reaches nothing outside, what goes wrong leaves nothing, and nobody outlives an erasure in one.

use domain::id::TenantId;
use infra::{
    clock,
    database::{Access, Connection, DatabaseError},
    sandbox::{self, Made, Name, SandboxError, Sandboxes},
};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::server::{World, alone, run, tenant};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn made() -> Made {
    Made {
        title: "A test".to_owned(),
        script: String::new(),
        position: 1,
        events: 1,
        difference: json!({}),
    }
}

async fn sandboxes(world: &World) -> Sandboxes {
    Sandboxes::open(&world.owner_url).await.expect("the owner")
}

async fn employ(world: &World, tenant: TenantId) -> Uuid {
    let id = clock::new_id();
    let statement = format!(
        "insert into employee (tenant, id, status, hired_on, objects_to_scoring, position) values ('{tenant}', '{id}', 'ACTIVE', '2026-01-01', false, 1)"
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&world.owner)
        .await
        .expect("an employee");
    id
}

async fn count(world: &World, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::query_scalar(sql).fetch_one(&world.owner).await.expect("a number")
}

async fn is_refused(connection: &mut Connection, statement: &str) -> bool {
    sqlx::raw_sql("savepoint attempt")
        .execute(&mut *connection)
        .await
        .expect("a savepoint");
    let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *connection)
        .await;
    sqlx::raw_sql("rollback to attempt")
        .execute(connection)
        .await
        .expect("a rollback");
    let code = result
        .err()
        .and_then(|error| error.as_database_error()?.code().map(String::from));
    code.as_deref() == Some("42501") // insufficient_privilege
}

#[test]
fn from_inside_nothing_outside_can_be_written_and_no_key_be_read() {
    run(async {
        let alone = alone().await;
        let (world, tenant) = (&alone, tenant());
        let employee = employ(world, tenant).await;
        let made: Result<Made, SandboxError> = sandboxes(world)
            .await
            .fill(tenant, &name("inside"), move |connection| {
                Box::pin(async move {
                    for statement in [
                        "update public.employee set status = 'LEFT'",
                        "delete from public.timeline_entry",
                        "insert into public.risk select * from risk",
                        "insert into public.outbox (id) values (gen_random_uuid())",
                        "delete from public.event",
                        "update public.log_head set position = 0",
                        "update public.consumer_checkpoint set position = 0",
                        "select * from public.subject_key",
                        "select * from public.tenant_key",
                        "select * from fairness.attributes",
                        "insert into public.sandbox (tenant) values (null)",
                        "create table public.more (id int)",
                        "create table more (id int)",
                        "create schema elsewhere",
                        "select tenure_forget_kept_generation()",
                        "select tenure_forget_in_sandboxes(null, null)",
                    ] {
                        assert!(is_refused(connection, statement).await, "{statement}");
                    }
                    let own = format!("insert into employee select * from public.employee where id = '{employee}'");
                    assert!(!is_refused(connection, &own).await);
                    Ok(made())
                })
            })
            .await;
        made.expect("a sandbox");
        let listed = sandboxes(world).await.list(tenant).await.expect("listed");
        assert_eq!((listed.len(), listed[0].name.as_str()), (1, "inside"));
        assert!(
            sandboxes(world)
                .await
                .list(self::tenant())
                .await
                .expect("listed")
                .is_empty()
        );
        alone.close().await;
    });
}

#[test]
fn what_goes_wrong_leaves_nothing_behind() {
    run(async {
        let alone = alone().await;
        let (world, tenant) = (&alone, tenant());
        let name = name("wrong");
        let failed: Result<Made, SandboxError> = sandboxes(world)
            .await
            .fill(tenant, &name, move |_| {
                Box::pin(async move { Err(DatabaseError::Corrupt("event").into()) })
            })
            .await;
        failed.expect_err("what the work says");
        let killed: Result<Made, SandboxError> = sandboxes(world)
            .await
            .fill(tenant, &name, move |_| Box::pin(async move { panic!("as if killed") }))
            .await;
        killed.expect_err("cut off");
        let left = format!(
            "select count(*) from pg_namespace where nspname = '{}'",
            name.schema(tenant)
        );
        assert_eq!(count(world, &left).await, 0);
        // The name is free.
        let made: Result<Made, SandboxError> = sandboxes(world)
            .await
            .fill(tenant, &name, move |_| Box::pin(async { Ok(made()) }))
            .await;
        made.expect("a sandbox");
        let again: Result<Made, SandboxError> = sandboxes(world)
            .await
            .fill(tenant, &name, move |_| Box::pin(async { Ok(self::made()) }))
            .await;
        assert!(matches!(again, Err(SandboxError::Taken(_))));
        sandboxes(world).await.drop(tenant, &name).await.expect("dropped");
        assert_eq!(count(world, &left).await, 0);
        alone.close().await;
    });
}

/// Somebody is erased while a sandbox is filled, after it has looked: the eraser does not see the sandbox, the sandbox must see the
/// erasure. Somebody else is erased later.
#[test]
fn nobody_outlives_an_erasure_in_a_sandbox() {
    run(async {
        let alone = alone().await;
        let (world, tenant) = (&alone, tenant());
        let (first, second, third) = (
            employ(world, tenant).await,
            employ(world, tenant).await,
            employ(world, tenant).await,
        );
        let (owner, name) = (world.owner.clone(), name("erased"));
        let made: Result<Made, SandboxError> = sandboxes(world)
            .await
            .fill(tenant, &name, move |connection| {
                Box::pin(async move {
                    sqlx::raw_sql("insert into employee select * from public.employee")
                        .execute(connection)
                        .await
                        .expect("copied");
                    let erase = format!("update employee set status = 'ERASED' where id = '{first}'");
                    sqlx::raw_sql(AssertSqlSafe(erase))
                        .execute(&owner)
                        .await
                        .expect("erased");
                    Ok(self::made())
                })
            })
            .await;
        made.expect("a sandbox");
        let counted = format!(
            "select count(*) from {}.employee where id in ('{first}', '{second}', '{third}')",
            name.schema(tenant)
        );
        assert_eq!(count(world, &counted).await, 2);
        let other = self::tenant();
        let refused = world
            .database
            .transact(Access::Write, &[other], move |connection| {
                Box::pin(async move { sandbox::forget(connection, &[(tenant, second)]).await })
            })
            .await;
        refused.expect_err("another tenant's");
        assert_eq!(count(world, &counted).await, 2);
        let forgotten = world
            .database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move { sandbox::forget(connection, &[(tenant, second)]).await })
            })
            .await;
        forgotten.expect("erased");
        assert_eq!(count(world, &counted).await, 1);
        alone.close().await;
    });
}
