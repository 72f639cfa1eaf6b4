//! Empty tables like the live ones, in a schema of their own: for generations and sandboxes.

use sqlx::PgExecutor;

use crate::database::{DatabaseError, Doing};

/// What is made of a table, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The table with what keeps it right, and what rows are written by: its constraints and their indexes.
    Table,
    /// The same rights as on the live one, and the same isolation of tenants.
    Rights,
    /// The indexes that only readers need: quicker made at once than row by row. Without them, the planner finds no other way to a
    /// row than by its key, also while it does not know yet how many there are.
    Indexes,
}

impl Part {
    const fn steps(self) -> &'static [i32] {
        match self {
            Self::Table => &[1, 2, 3],
            Self::Rights => &[5, 6, 7],
            Self::Indexes => &[4],
        }
    }
}

/// The statements that make a part of a table like a live one in `schema`: with the same names of constraints and indexes, which
/// migrations go by.
pub(crate) async fn like(
    executor: impl PgExecutor<'_>,
    schema: &str,
    table: &str,
    part: Part,
) -> Result<Vec<String>, DatabaseError> {
    let statements: Vec<String> = sqlx::query_scalar(
        "with t as (select oid, relname, relacl, relowner, reloptions from pg_class where oid = ('public.' || $1)::regclass)
         select statement from (
             select 1 as step, '' as name, format('create table %I.%I (like public.%I including defaults including storage including comments)', $2, relname, relname) as statement from t
             union all
             select 2, '', format('alter table %I.%I set (%s)', $2, relname, array_to_string(reloptions, ', ')) from t where reloptions is not null
             union all
             select 3, conname::text, format('alter table %I.%I add constraint %I %s', $2, relname, conname, pg_get_constraintdef(c.oid))
               from t join pg_constraint c on c.conrelid = t.oid where contype in ('p', 'u', 'c', 'x')
             union all
             select 4, i.indexrelid::regclass::text, regexp_replace(replace(pg_get_indexdef(i.indexrelid), format(' ON public.%I ', relname), format(' ON %I.%I ', $2, relname)), ' INDEX ', ' INDEX if not exists ')
               from t join pg_index i on i.indrelid = t.oid where not exists (select from pg_constraint c where c.conindid = i.indexrelid)
             union all
             select 5, r.rolname || privilege_type, format('grant %s on %I.%I to %I', privilege_type, $2, relname, r.rolname)
               from t cross join lateral aclexplode(relacl) a join pg_roles r on r.oid = a.grantee where a.grantee <> relowner
             union all
             select 6, r.rolname || a.attname || privilege_type, format('grant %s (%I) on %I.%I to %I', privilege_type, a.attname, $2, relname, r.rolname)
               from t join pg_attribute a on a.attrelid = t.oid cross join lateral aclexplode(a.attacl) g join pg_roles r on r.oid = g.grantee
             union all
             select 7, '', format('call public.tenure_isolate(''%I.%I'')', $2, relname) from t) s
          where step = any ($3) order by step, name",
    )
    .bind(table)
    .bind(schema)
    .bind(part.steps())
    .fetch_all(executor)
    .await
    .doing("describe a live table")?;
    Ok(statements)
}
