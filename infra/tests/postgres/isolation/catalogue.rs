//! The rules of isolation, asked of the catalogue: a table that is added tomorrow is checked too.

use std::collections::BTreeMap;

use infra::database::Connection;
use sqlx::AssertSqlSafe;

/// Each query finds what breaks a rule.
const RULES: &[(&str, &str)] = &[
    (
        "has a tenant, but is not under forced row-level security with a policy",
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped
          where c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'fairness'::regnamespace)
            and not (c.relrowsecurity and c.relforcerowsecurity and exists (select from pg_policy p where p.polrelid = c.oid))",
    ),
    (
        "has no tenant and is not one of the tables that belong to the whole installation",
        "select c.relname from pg_class c
          where c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'fairness'::regnamespace)
            and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped)
            and c.relname not in ('_sqlx_migrations', 'log_head', 'log_identity', 'log_seal', 'log_archive', 'consumer_checkpoint', 'relay_checkpoint')",
    ),
    (
        "is a policy other than a tenant's own rows, and no documented exception",
        "select tablename || '.' || policyname || ' to ' || roles::text from pg_policies
          where not (permissive = 'PERMISSIVE' and policyname = 'own_tenant' and roles = '{public}' and cmd = 'ALL'
                     and qual = '(tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))' and with_check = qual)
            and (tablename, policyname, roles::text, cmd, coalesce(qual, ''), coalesce(with_check, '')) not in (
                ('tenant_directory', 'ids_are_no_secret', '{public}', 'SELECT', 'true', ''),
                ('tenant_directory', 'own_tenant', '{public}', 'INSERT', '', '(tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))'),
                ('connection_route', 'anyone_who_knows_the_id', '{public}', 'SELECT', 'true', ''),
                ('connection_route', 'own_tenant', '{public}', 'INSERT', '', '(tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))'),
                ('event', 'relay_reads_all', '{tenure_relay}', 'SELECT', 'true', ''))",
    ),
    (
        "is unique across tenants, so that it tells of other tenants' rows",
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid
           join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped
          where i.indisunique and c.relnamespace in ('public'::regnamespace, 'fairness'::regnamespace) and not c.relispartition and not (a.attnum = any (i.indkey::int2[]))
            -- Nobody chooses a position; a connection's id is derived from its tenant.
            and i.indexrelid::regclass::text not in ('event_pkey', 'connection_route_pkey')",
    ),
    (
        "is a foreign key: it tells whether a hidden row exists",
        "select conname from pg_constraint where contype = 'f' and connamespace in ('public'::regnamespace, 'fairness'::regnamespace)",
    ),
    (
        "is a view that reads with its owner's rights",
        "select relname from pg_class where relkind = 'v' and relnamespace in ('public'::regnamespace, 'fairness'::regnamespace)
            and not coalesce(reloptions::text like '%security_invoker=true%', false)",
    ),
    (
        "is a materialized view: policies do not reach it",
        "select oid::regclass::text from pg_class where relkind = 'm' and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')",
    ),
    (
        "runs with its owner's rights",
        "select oid::regprocedure::text from pg_proc where pronamespace in ('public'::regnamespace, 'fairness'::regnamespace) and prosecdef
            -- They take no name and answer nothing; the last takes rows out of sandboxes of a tenant that the caller works for.
            and oid::regprocedure::text not in ('tenure_prepare_log(bigint)', 'tenure_refresh_statistics()', 'tenure_forget_kept_generation()',
                'tenure_forget_in_sandboxes(uuid,uuid[])')",
    ),
    (
        "may be run by everyone though it runs with its owner's rights",
        "select oid::regprocedure::text from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
          where pronamespace in ('public'::regnamespace, 'fairness'::regnamespace) and prosecdef and grantee = 0",
    ),
    (
        "sets the tenants by itself",
        "select oid::regprocedure::text from pg_proc where proconfig::text like '%app.tenants%'",
    ),
    (
        "is a role that is more powerful than the application may be",
        "select rolname from pg_roles where rolname in ('tenure_app', 'tenure_relay', 'tenure_fairness', 'tenure_what_if')
            and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication
                 or exists (select from pg_auth_members m where m.member = pg_roles.oid))",
    ),
    (
        "belongs to a role of the application",
        "select pg_describe_object(classid, objid, objsubid) from pg_shdepend
          where refclassid = 'pg_authid'::regclass and refobjid in (select oid from pg_roles where rolname in ('tenure_app', 'tenure_relay', 'tenure_fairness', 'tenure_what_if'))
            and deptype = 'o' and dbid in (0, (select oid from pg_database where datname = current_database()))",
    ),
    (
        "is granted to everyone",
        "select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) where c.relnamespace in ('public'::regnamespace, 'fairness'::regnamespace) and grantee = 0",
    ),
    (
        "is granted column by column, which the other checks do not see",
        "select c.oid::regclass || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
          where a.attacl is not null and c.relnamespace in ('public'::regnamespace, 'fairness'::regnamespace)",
    ),
    (
        "is a partition that somebody may use past its parent's policies",
        "select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a where c.relispartition and a.grantee <> c.relowner",
    ),
    (
        "may be changed by the application, though history is only appended to",
        "select a.grantee::regrole || ' may ' || a.privilege_type || ' ' || c.relname from pg_class c, aclexplode(c.relacl) a
          where c.relname in ('event', 'event_id', 'log_identity', 'log_seal', 'log_archive', 'log_archived', 'archived_stream') and a.grantee <> c.relowner and a.privilege_type not in ('SELECT', 'INSERT')",
    ),
    (
        "is granted to the relay, which reads events and moves its checkpoint",
        "select c.relname || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) a
          where a.grantee = 'tenure_relay'::regrole and (c.relname, a.privilege_type) not in
                (('event', 'SELECT'), ('log_head', 'SELECT'), ('relay_checkpoint', 'SELECT'), ('relay_checkpoint', 'UPDATE'),
                 ('log_seal', 'SELECT'), ('log_seal', 'INSERT'), ('log_archive', 'SELECT'), ('log_archived', 'SELECT'))",
    ),
    (
        "may be changed from inside a sandbox",
        "select c.relname || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) a
          where a.grantee = 'tenure_what_if'::regrole and c.relnamespace in ('public'::regnamespace, 'fairness'::regnamespace) and a.privilege_type <> 'SELECT'
         union all
         select c.relname || ' is none of its business' from pg_class c, aclexplode(c.relacl) a
          where a.grantee = 'tenure_what_if'::regrole and c.relname in ('tenant_key', 'subject_key', 'outbox', 'stream', 'log_head', 'sandbox')
         union all
         select p.oid::regprocedure::text from pg_proc p, aclexplode(p.proacl) a where a.grantee = 'tenure_what_if'::regrole",
    ),
    (
        "is in the fairness store, and open to another role than the store's",
        "select a.grantee::regrole || ' may ' || a.privilege_type || ' ' || c.oid::regclass from pg_class c, aclexplode(c.relacl) a
          where c.relnamespace = 'fairness'::regnamespace and a.grantee not in (c.relowner, 'tenure_fairness'::regrole)
         union all
         select a.grantee::regrole || ' may ' || a.privilege_type || ' in the schema' from pg_namespace n, aclexplode(n.nspacl) a
          where n.nspname = 'fairness' and (a.grantee, a.privilege_type) <> ('tenure_fairness'::regrole, 'USAGE') and a.grantee <> n.nspowner",
    ),
    (
        "is granted to the fairness role, which keeps attributes and its projection's place and meets no score, feature, event or key",
        "select c.oid::regclass || ' ' || a.privilege_type from pg_class c, aclexplode(c.relacl) a
          where a.grantee = 'tenure_fairness'::regrole and c.relnamespace <> 'fairness'::regnamespace and (c.relname, a.privilege_type) not in
                (('tenant_directory', 'SELECT'), ('log_identity', 'SELECT'), ('consumer_checkpoint', 'SELECT'), ('consumer_checkpoint', 'INSERT'), ('consumer_checkpoint', 'UPDATE'),
                 ('parked', 'SELECT'), ('parked', 'INSERT'), ('parked', 'UPDATE'), ('parked', 'DELETE'))",
    ),
    (
        "is a table outside the schemas that are checked here",
        "select oid::regclass::text from pg_class where relkind in ('r', 'p', 'v', 'm', 'f')
            and relnamespace::regnamespace::text not in ('public', 'fairness', 'pg_catalog', 'information_schema', 'pg_toast') and relpersistence <> 't'",
    ),
];

/// Whatever breaks a rule, in words.
pub async fn violations(owner: &mut Connection) -> Vec<String> {
    let mut found = BTreeMap::new();
    for (rule, query) in RULES {
        let names: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("select v::text from ({query}) as t(v)")))
            .fetch_all(&mut *owner)
            .await
            .unwrap_or_else(|error| panic!("{rule}: {error}"));
        for name in names {
            found.insert(format!("{name} {rule}"), ());
        }
    }
    found.into_keys().collect()
}
