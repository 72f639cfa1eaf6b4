//! Tenants do not see each other: the rules of the schema, and what the application can do with them.

mod catalogue;

use std::{collections::BTreeMap, time::Duration};

use domain::{
    Kind, StreamId,
    id::{CommandId, ConnectionId, EmployeeId, TenantId},
};
use infra::{
    clock, completion,
    connection_task::{self, Task},
    database::{Access, DatabaseError},
    event_log::EventLog,
    outbox, outcome, route,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    event_log::conformance::{append_to, new_stream, recorded},
    server::{self, REFUSED, World, alone, code, execute, failed, number, run, shared},
};

#[test]
fn the_catalogue_keeps_the_rules() {
    run(async {
        let mut owner = shared().await.owner.acquire().await.expect("a connection");
        assert_eq!(catalogue::violations(&mut owner).await, Vec::<String>::new());
    });
}

/// Each of these, done in a transaction that is rolled back, must turn the check red: otherwise it checks nothing.
#[test]
fn a_broken_rule_turns_the_check_red() {
    run(async {
        let world = alone().await;
        for broken in [
            "drop policy own_tenant on employee",
            "alter table employee disable row level security",
            "alter table employee no force row level security",
            "alter policy own_tenant on employee using (true)",
            "alter policy own_tenant on employee with check (true)",
            "create policy also_this on risk using (true)",
            "alter policy relay_reads_all on event to tenure_app",
            "create table forgetful (tenant uuid not null, id uuid not null, primary key (tenant, id))",
            "create table nobodys (id uuid primary key)",
            "create unique index one_email_in_the_world on employee (work_email)",
            "create view everyone as select * from employee",
            "create materialized view everyone as select * from employee",
            "create function peek() returns bigint language sql security definer as 'select count(*) from employee'",
            "create function app_tenants(text) returns uuid[] language sql set app.tenants = '{}' as 'select app_tenants()'",
            "create table event_elsewhere partition of event for values from (90000000) to (100000000)",
            "grant select on event_from_0 to tenure_app",
            "grant update on event to tenure_app",
            "grant select on employee to tenure_relay",
            "grant select on employee to public",
            "alter table employee owner to tenure_app",
            "grant pg_read_all_data to tenure_app",
            "create schema elsewhere create table secrets (id uuid primary key)",
            "alter table fairness.attributes no force row level security",
            "create table fairness.forgetful (tenant uuid not null, id uuid not null, primary key (tenant, id))",
            "create view fairness.everyone as select * from fairness.attributes",
            "create function fairness.peek() returns bigint language sql security definer as 'select count(*) from fairness.attributes'",
            "grant select on fairness.attributes to tenure_app",
            "grant usage on schema fairness to tenure_app",
            "grant usage on schema fairness to public",
            "grant tenure_fairness to tenure_app",
            "grant select on risk to tenure_fairness",
            "grant select (probability) on risk to tenure_fairness",
            "grant update on employee to tenure_what_if",
            "grant select on subject_key to tenure_what_if",
            "grant execute on function tenure_forget_kept_generation() to tenure_what_if",
        ] {
            let mut transaction = world.owner.begin().await.expect("a transaction");
            execute(&mut transaction, broken).await.expect(broken);
            let found = catalogue::violations(&mut transaction).await;
            assert!(!found.is_empty(), "not noticed: {broken}");
            transaction.rollback().await.expect("rolled back");
        }
        let mut owner = world.owner.acquire().await.expect("a connection");
        assert_eq!(catalogue::violations(&mut owner).await, Vec::<String>::new());
        drop(owner);
        world.close().await;
    });
}

#[test]
fn a_role_that_policies_do_not_bind_is_refused() {
    run(async {
        let world = alone().await;
        world.database.assert_trustworthy().await.expect("bound");
        world
            .as_owner("create table mine (id uuid); alter table mine owner to tenure_app")
            .await;
        let refused = world.database.assert_trustworthy().await;
        assert!(
            matches!(&refused, Err(DatabaseError::TooPowerful(role)) if role == "tenure_app"),
            "{refused:?}"
        );
        world.close().await;
    });
}

#[test]
fn a_server_that_may_lose_what_it_confirmed_is_refused() {
    run(async {
        let world = alone().await;
        world
            .as_owner("do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$")
            .await;
        let process = world.another_process();
        let refused = process.assert_trustworthy().await;
        assert!(
            matches!(&refused, Err(DatabaseError::NotDurable(setting)) if setting == "synchronous_commit"),
            "{refused:?}"
        );
        process.close().await;
        world.close().await;
    });
}

/// A table with a `tenant` column, and how to make a row of it.
struct Canaries {
    table: String,
    /// Name and type.
    columns: Vec<(String, String)>,
}

impl Canaries {
    async fn of_every_table(world: &World) -> Vec<Self> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "select c.table_name::text, c.column_name::text, c.udt_name::text from information_schema.columns c
               join information_schema.tables t using (table_schema, table_name)
              where table_schema = 'public' and t.table_type = 'BASE TABLE'
                and exists (select from information_schema.columns i where i.table_schema = 'public' and i.table_name = c.table_name and i.column_name = 'tenant')
                and not exists (select from pg_class p where p.relname = c.table_name and p.relispartition)
              order by table_name, ordinal_position",
        )
        .fetch_all(&world.owner)
        .await
        .expect("columns");
        let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for (table, column, kind) in rows {
            tables.entry(table).or_default().push((column, kind));
        }
        assert!(tables.len() >= 21, "tables were overlooked: {:?}", tables.keys());
        tables
            .into_iter()
            .map(|(table, columns)| Self { table, columns })
            .collect()
    }

    /// A row of `tenant`, unlike any other.
    fn insert(&self, tenant: TenantId) -> String {
        let values: Vec<String> = self
            .columns
            .iter()
            .map(|(column, kind)| match (column.as_str(), kind.as_str()) {
                ("tenant", _) => format!("'{tenant}'"),
                // What a check constraint asks for.
                ("outcome", _) => "'accepted'".to_owned(),
                ("task", _) => "'changes'".to_owned(),
                ("found_by", _) => "'import'".to_owned(),
                ("kind", _) if self.table == "scim_resource" => "'group'".to_owned(),
                (from, "date") if from.ends_with("_from") || from == "from_on" => "'2026-01-01'".to_owned(),
                (from, "timestamptz") if from.ends_with("_from") => "'2026-01-01T00:00:00Z'".to_owned(),
                (_, "date") => "'2026-02-01'".to_owned(),
                (_, "timestamptz") => "'2026-02-01T00:00:00Z'".to_owned(),
                (_, "uuid") => format!("'{}'", clock::new_id()),
                // Within the log's first partition.
                (_, "int8") => (1 + clock::new_id().as_u128() % 9_000_000).to_string(),
                (_, "int2" | "int4" | "float8") => "1".to_owned(),
                (_, "bool") => "false".to_owned(),
                (_, "json" | "jsonb") => "'[]'".to_owned(),
                (_, "text") => format!("'canary {}'", clock::new_id()),
                (_, "_text") => "'{a}'".to_owned(),
                (_, "_int8") => "'{1}'".to_owned(),
                (_, "bytea") => "'canary'".to_owned(),
                (column, kind) => panic!("tell this test how to fill {}.{column}, a {kind}", self.table),
            })
            .collect();
        let columns: Vec<String> = self.columns.iter().map(|(column, _)| format!("\"{column}\"")).collect();
        format!(
            "insert into {} ({}) values ({})",
            self.table,
            columns.join(", "),
            values.join(", ")
        )
    }

    /// Ids and nothing else, for everyone to look up: documented in the migrations.
    fn is_directory(&self) -> bool {
        ["tenant_directory", "connection_route"].contains(&self.table.as_str())
    }

    async fn may(&self, world: &World, privilege: &str) -> bool {
        let sql = format!(
            "select has_table_privilege('tenure_app', '{}', '{privilege}')::int::bigint",
            self.table
        );
        world.owner_number(&sql).await == 1
    }
}

#[test]
fn every_table_shows_and_takes_only_the_tenants_that_are_named() {
    run(async {
        let world = alone().await;
        let (own, other) = (server::tenant(), server::tenant());
        for canaries in Canaries::of_every_table(&world).await {
            let table = &canaries.table;
            if canaries.may(&world, "insert").await {
                let inserted = world.execute(&[own], &canaries.insert(own)).await;
                assert_eq!(inserted.expect("one's own row"), 1, "{table}");
            } else {
                world.as_owner(&canaries.insert(own)).await;
            }
            world.as_owner(&canaries.insert(other)).await;
            let count = format!("select count(*) from {table}");
            let of_other = format!("{count} where tenant = '{other}'");
            let seen = async |tenants: &[TenantId], sql: &str| world.number(tenants, sql).await.expect("a count");
            if canaries.is_directory() {
                assert_eq!(seen(&[], &count).await, 2, "{table} is for everyone");
            } else {
                assert_eq!(seen(&[], &count).await, 0, "{table}, with no tenant named");
                assert_eq!(seen(&[own], &of_other).await, 0, "{table} shows another tenant's rows");
                assert_eq!(seen(&[own], &count).await, 1, "{table} hides one's own row");
                assert_eq!(seen(&[own, other], &count).await, 2, "{table}, with both tenants named");
            }
            for tenants in [&[own][..], &[]] {
                assert_eq!(
                    code(world.execute(tenants, &canaries.insert(other)).await),
                    REFUSED,
                    "{table} took another tenant's row"
                );
            }
            for (privilege, change) in [
                (
                    "update",
                    format!("update {table} set tenant = tenant where tenant = '{other}'"),
                ),
                ("delete", format!("delete from {table} where tenant = '{other}'")),
            ] {
                let result = world.execute(&[own], &change).await;
                if canaries.may(&world, privilege).await {
                    assert_eq!(result.expect("a count"), 0, "{change}");
                } else {
                    assert_eq!(code(result), REFUSED, "{change}");
                }
            }
            // Nor can one give one's own rows away.
            let give = format!("update {table} set tenant = '{other}' where tenant = '{own}'");
            assert_eq!(code(world.execute(&[own], &give).await), REFUSED, "{give}");
            assert_eq!(
                world.owner_number(&of_other).await,
                1,
                "{table} of the other tenant is as it was"
            );
        }
        world.close().await;
    });
}

#[test]
fn the_tenants_of_one_transaction_do_not_linger() {
    run(async {
        let world = alone().await;
        let (tenant, stream) = (server::tenant(), new_stream(server::tenant()));
        let stream = StreamId { tenant, ..stream };
        let log = EventLog::new(world.database.clone());
        recorded(log.append(append_to(stream, 0, 1)).await);
        let (setting, visible) = world
            .database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move {
                    assert_eq!(number(connection, "select count(*) from event").await?, 1);
                    // Ends the transaction behind the adapter's back: what the next borrower of the connection would find.
                    execute(connection, "commit").await?;
                    let setting: Option<String> = sqlx::query_scalar("select current_setting('app.tenants', true)")
                        .fetch_one(&mut *connection)
                        .await
                        .map_err(failed)?;
                    Ok((setting, number(connection, "select count(*) from event").await?))
                })
            })
            .await
            .expect("read");
        assert_eq!((setting.unwrap_or_default().as_str(), visible), ("", 0));
        world.close().await;
    });
}

#[test]
fn a_read_only_unit_writes_nothing() {
    run(async {
        let world = shared().await;
        let tenant = server::tenant();
        let result = world
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    let sql = format!("insert into tenant_directory (tenant) values ('{tenant}')");
                    execute(connection, &sql).await
                })
            })
            .await;
        assert_eq!(code(result), "25006");
    });
}

#[test]
fn the_relay_reads_every_tenants_events_and_nothing_else() {
    run(async {
        let world = alone().await;
        let log = EventLog::new(world.database.clone());
        for _ in 0..3 {
            recorded(log.append(append_to(new_stream(server::tenant()), 0, 2)).await);
        }
        let as_relay = async |sql: String| {
            world
                .database
                .transact_as_relay(move |connection| Box::pin(async move { execute(connection, &sql).await }))
                .await
        };
        let all = world
            .database
            .transact_as_relay(|connection| Box::pin(infra::event_log::read_after(connection, 0, 100)))
            .await
            .expect("the log");
        assert_eq!(all.len(), 6);

        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1",
        )
        .fetch_all(&world.owner)
        .await
        .expect("tables");
        for table in tables {
            let readable =
                ["event", "log_archive", "log_head", "log_seal", "relay_checkpoint"].contains(&table.as_str());
            let read = as_relay(format!("select from {table}")).await;
            assert_eq!(read.is_ok(), readable, "{table}: {read:?}");
            for write in ["delete from", "truncate"] {
                assert_eq!(
                    code(as_relay(format!("{write} {table}")).await),
                    REFUSED,
                    "{write} {table}"
                );
            }
        }
        for canaries in Canaries::of_every_table(&world).await {
            let insert = canaries.insert(server::tenant());
            assert_eq!(code(as_relay(insert).await), REFUSED, "{}", canaries.table);
        }
        for write in ["update event set actor = ''", "update log_head set position = 0"] {
            assert_eq!(code(as_relay(write.to_owned()).await), REFUSED, "{write}");
        }
        world.close().await;
    });
}

/// Models cannot read protected attributes: the database says so, whatever code asks.
#[test]
fn protected_attributes_open_for_their_own_role_only() {
    run(async {
        let world = alone().await;
        let store = world.fairness();
        let (own, other) = (server::tenant(), server::tenant());
        let insert = |tenant: TenantId| {
            format!(
                "insert into fairness.attributes (tenant, employee, sealed, position) values ('{tenant}', '{}', '', 1)",
                clock::new_id()
            )
        };
        let as_store = async |tenants: &[TenantId], sql: String| {
            let work = store.database().transact(Access::Write, tenants, move |connection| {
                Box::pin(async move { execute(connection, &sql).await })
            });
            work.await
        };
        for tenant in [own, other] {
            assert_eq!(as_store(&[tenant], insert(tenant)).await.expect("its own table"), 1);
        }

        // The application, with which scorer, training and query API work, and the relay are refused everything.
        let touches = [
            "select count(*) from fairness.attributes".to_owned(),
            insert(own),
            "update fairness.attributes set position = 2".to_owned(),
            "delete from fairness.attributes".to_owned(),
            "truncate fairness.attributes".to_owned(),
            "lock table fairness.attributes in access share mode".to_owned(),
            "create table fairness.mine (id uuid)".to_owned(),
            "set role tenure_fairness".to_owned(),
            "set session authorization tenure_fairness".to_owned(),
        ];
        for touch in &touches {
            assert_eq!(
                code(world.execute(&[own, other], touch).await),
                REFUSED,
                "the application: {touch}"
            );
            let sql = touch.clone();
            let relay = world
                .database
                .transact_as_relay(move |connection| Box::pin(async move { execute(connection, &sql).await }));
            assert_eq!(code(relay.await), REFUSED, "the relay: {touch}");
        }

        // The store's role sees the tenants that it names, and nothing that is predicted or learnt from.
        for (tenants, rows) in [(&[][..], 0), (&[own], 1), (&[own, other], 2)] {
            let seen = as_store(tenants, "update fairness.attributes set position = 2".to_owned()).await;
            assert_eq!(seen.expect("a count"), rows, "{tenants:?}");
        }
        assert_eq!(code(as_store(&[own], insert(other)).await), REFUSED);
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1",
        )
        .fetch_all(&world.owner)
        .await
        .expect("tables");
        for table in tables {
            let needed =
                ["consumer_checkpoint", "log_identity", "parked", "tenant_directory"].contains(&table.as_str());
            let read = as_store(&[own], format!("select from {table}")).await;
            assert_eq!(read.is_ok(), needed, "{table}: {read:?}");
        }
        // Nor is it a way to the whole log.
        let log = store
            .database()
            .transact_as_relay(|connection| Box::pin(infra::event_log::read_after(connection, 0, 1)));
        assert_eq!(code(log.await), REFUSED);
        store
            .database()
            .assert_trustworthy()
            .await
            .expect("bound by row-level security");
        store.database().close().await;
        world.close().await;
    });
}

/// A unique key without the tenant would answer "taken" about what one must not know.
#[test]
fn the_same_ids_serve_in_two_tenants() {
    run(async {
        let world = shared().await;
        let tenants = [server::tenant(), server::tenant()];
        let (id, connection_id) = (clock::new_id(), ConnectionId::from_uuid(clock::new_id()));
        for tenant in tenants {
            world
                .database
                .transact(Access::Write, &[tenant], move |connection| {
                    Box::pin(async move {
                        let stream = StreamId::new(tenant, Kind::Employee, EmployeeId::from_uuid(id));
                        let command = CommandId::from_uuid(id);
                        let outcome = outcome::Outcome {
                            command,
                            stream,
                            fingerprint: None,
                            decided_at: clock::now(),
                            verdict: outcome::Verdict::Rejected {
                                rule: tenant.to_string(),
                            },
                        };
                        outcome::record(connection, &[outcome]).await?;
                        outbox::add(
                            connection,
                            &[outbox::Outgoing {
                                id: command,
                                stream,
                                command: vec![],
                                actor: String::new(),
                                correlation: id,
                                backfill: false,
                                traceparent: None,
                            }],
                        )
                        .await?;
                        completion::request(
                            connection,
                            &[completion::Request {
                                tenant,
                                connection: connection_id,
                                remote_id: "1".into(),
                                notification: vec![],
                                correlation: id,
                                backfill: false,
                                found_by: completion::FoundBy::Notification,
                            }],
                        )
                        .await?;
                        connection_task::ensure(
                            connection,
                            (tenant, connection_id),
                            Task::Changes,
                            (Duration::ZERO, None),
                        )
                        .await?;
                        for insert in [
                            "insert into employee (tenant, id, status, hired_on, objects_to_scoring, position) values ($1, $2, 'ACTIVE', '2026-01-01', false, 1)",
                            "insert into subject_key (tenant, subject, key_id, wrapped) values ($1, $2, $2, '')",
                            "insert into tenant_key (tenant, key_id, wrapped) values ($1, $2, '')",
                            "insert into event_id (tenant, event_id, position) values ($1, $2, 0)",
                            "insert into model_version (tenant, version, artifact, created_at) values ($1, $2::uuid::text, '', now())",
                        ] {
                            sqlx::query(AssertSqlSafe(insert))
                                .bind(Uuid::from(tenant))
                                .bind(id)
                                .execute(&mut *connection)
                                .await
                                .map_err(failed)?;
                        }
                        Ok(())
                    })
                })
                .await
                .expect("no word of the other tenant");
        }
        for tenant in tenants {
            let outcomes = world
                .database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(
                        async move { outcome::find(connection, &tenants.map(|t| (t, CommandId::from_uuid(id)))).await },
                    )
                })
                .await
                .expect("outcomes");
            assert_eq!(outcomes.len(), 1);
            assert_eq!(outcomes[0].stream.tenant, tenant);
        }
    });
}

/// A connection's id is derived from its tenant, so nobody else has it; whoever tries it all the same changes nothing.
#[test]
fn a_connections_route_stays_with_its_tenant() {
    run(async {
        let world = shared().await;
        let (own, other) = (server::tenant(), server::tenant());
        let connection_id = ConnectionId::derive(own, "bamboohr", "acme");
        let add = async |tenant| {
            world
                .database
                .transact(Access::Write, &[tenant], move |c| {
                    Box::pin(async move { route::add(c, connection_id, tenant).await })
                })
                .await
                .expect("added");
        };
        add(own).await;
        add(other).await;
        let found = world
            .database
            .transact(Access::Read, &[], move |c| {
                Box::pin(async move { route::tenant_of(c, connection_id).await })
            })
            .await
            .expect("a tenant");
        assert_eq!(found, Some(own));
    });
}
