//! The schema that the migrations make, as committed in `schemas/schema.sql`.

use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

use infra::database::{self, Connection};

use crate::server::{World, empty, run};

fn schemas(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas")).join(path)
}

#[test]
fn golden_schema() {
    run(async {
        let world = empty().await;
        migrate(&world).await;
        let path = schemas("schema.sql");
        let now = dump(&world).await;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &now).expect("written");
        }
        let committed = std::fs::read_to_string(&path).expect("schemas/schema.sql");
        if let Some((number, (was, is))) = committed
            .lines()
            .chain([""])
            .zip(now.lines().chain([""]))
            .enumerate()
            .find(|(_, (was, is))| was != is)
        {
            panic!(
                "the schema changed: run `just golden` and review the difference. It begins in line {}:\n- {was}\n+ {is}",
                number + 1
            );
        }
        assert_eq!(committed.lines().count(), now.lines().count());
        world.close().await;
    });
}

#[test]
fn migrating_twice_or_at_once_is_migrating_once() {
    run(async {
        let world = empty().await;
        // Several processes that start at the same time.
        tokio::join!(migrate(&world), migrate(&world), migrate(&world));
        let (schema, applied) = (dump(&world).await, applied(&world).await);
        migrate(&world).await;
        assert_eq!(dump(&world).await, schema);
        assert_eq!(self::applied(&world).await, applied);
        let files: BTreeSet<i64> = std::fs::read_dir(schemas("migrations"))
            .expect("migrations")
            .filter_map(|file| file.expect("a file").file_name().into_string().ok())
            .filter(|name| name.ends_with(".sql"))
            .map(|name| name[..4].parse().expect("a number"))
            .collect();
        let known: BTreeSet<i64> = applied.iter().map(|(version, ..)| *version).collect();
        assert_eq!(
            known, files,
            "not every migration is compiled in: touch infra/src/database.rs"
        );
        world.close().await;
    });
}

async fn migrate(world: &World) {
    database::migrate(&world.owner_url, &world.master)
        .await
        .expect("migrated");
}

/// Version, checksum and moment of each migration.
async fn applied(world: &World) -> Vec<(i64, Vec<u8>, chrono::DateTime<chrono::Utc>)> {
    sqlx::query_as("select version, checksum, installed_on from _sqlx_migrations order by version")
        .fetch_all(&world.owner)
        .await
        .expect("migrations")
}

/// What there is, one paragraph for each function and table. Read from the catalogue, so that it is the same from any
/// version of Postgres, and what `pg_dump` is not asked to tell (grants) is in it.
const FUNCTIONS: &str = "
    select pg_get_functiondef(p.oid)
           || coalesce(E';\n' || (select string_agg(format('grant execute on %s %s to %s', case prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure,
                                                            case grantee when 0 then 'public' else grantee::regrole::text end), E';\n' order by grantee::regrole::text)
                         from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee <> proowner), '') || ';'
      from pg_proc p where pronamespace in ('public'::regnamespace, 'fairness'::regnamespace) order by proname";

const TABLES: &str = "
    select c.oid::regclass::text,
           format('create table %s', c.oid::regclass)
           || case when relispartition then ' partition of ' || (select inhparent::regclass from pg_inherits where inhrelid = c.oid) || ' ' || pg_get_expr(relpartbound, oid)
              else E' (\n' || concat_ws(E',\n',
                (select string_agg(format('    %s %s%s%s', quote_ident(attname), format_type(atttypid, atttypmod),
                                          case when attnotnull then ' not null' else '' end, coalesce(' default ' || pg_get_expr(adbin, adrelid), '')), E',\n' order by attnum)
                   from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum where attrelid = c.oid and attnum > 0 and not attisdropped),
                (select string_agg(format('    constraint %s %s', conname, pg_get_constraintdef(oid)), E',\n' order by conname)
                   from pg_constraint where conrelid = c.oid and contype not in ('n', 't'))) || E'\n)'
              || coalesce(' partition by ' || pg_get_partkeydef(oid), '') end || ';'
      from pg_class c where relnamespace in ('public'::regnamespace, 'fairness'::regnamespace) and relkind in ('r', 'p') and relname <> '_sqlx_migrations'
      order by relnamespace <> 'public'::regnamespace, relname";

/// One statement each.
const DETAILS: &[&str] = &[
    "select pg_get_indexdef(indexrelid) from pg_index where indrelid = $1::regclass
        and not exists (select from pg_constraint where conindid = indexrelid) and not (select relispartition from pg_class where oid = indexrelid)
      order by indexrelid::regclass::text",
    "select format('alter table %s enable row level security', oid::regclass) from pg_class where oid = $1::regclass and relrowsecurity",
    "select format('alter table %s force row level security', oid::regclass) from pg_class where oid = $1::regclass and relforcerowsecurity",
    "select concat_ws(' ', 'create policy', polname, 'on', polrelid::regclass,
                      'for ' || case polcmd when '*' then 'all' when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' else 'delete' end,
                      'to ' || (select string_agg(case role when 0 then 'public' else role::regrole::text end, ', ' order by role) from unnest(polroles) as role),
                      'using (' || pg_get_expr(polqual, polrelid) || ')', 'with check (' || pg_get_expr(polwithcheck, polrelid) || ')')
       from pg_policy where polrelid = $1::regclass order by polname",
    "select pg_get_triggerdef(oid) from pg_trigger where tgrelid = $1::regclass and not tgisinternal and tgparentid = 0 order by tgname",
    "select format('grant %s on %s to %s', string_agg(lower(privilege_type), ', ' order by privilege_type), oid::regclass, case grantee when 0 then 'public' else grantee::regrole::text end)
       from pg_class, aclexplode(relacl) where oid = $1::regclass and grantee <> relowner group by oid, grantee order by grantee::regrole::text",
];

async fn dump(world: &World) -> String {
    let mut owner = world.owner.acquire().await.expect("a connection");
    let mut out =
        "-- The schema that the migrations make, for reading: read from the catalogue and compared by the test `golden_schema`.\n"
            .to_owned();
    let functions: Vec<String> = sqlx::query_scalar(FUNCTIONS)
        .fetch_all(&mut *owner)
        .await
        .expect("functions");
    for function in functions {
        write!(out, "\n{function}\n").expect("written");
    }
    let tables: Vec<(String, String)> = sqlx::query_as(TABLES).fetch_all(&mut *owner).await.expect("tables");
    for (table, definition) in tables {
        write!(out, "\n{definition}\n").expect("written");
        for detail in details(&mut owner, &table).await {
            writeln!(out, "{detail};").expect("written");
        }
    }
    out
}

async fn details(owner: &mut Connection, table: &str) -> Vec<String> {
    let mut found = Vec::new();
    for query in DETAILS {
        let lines: Vec<String> = sqlx::query_scalar(*query)
            .bind(table)
            .fetch_all(&mut *owner)
            .await
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        found.extend(lines);
    }
    found
}
