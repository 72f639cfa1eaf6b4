-- Sandboxes of `tenure what-if`: each is a schema of its own with a tenant's read models as they would have come out. This is the
-- list of them. It is written in the transaction that makes the schema, so that there is never one without the other.
create table sandbox (
    tenant uuid not null,
    name text not null,
    schema_name text not null,
    title text not null,
    -- SHA-256 of the script, hexadecimal.
    script text not null,
    created_at timestamptz not null default now(),
    -- The last event of the log that it was made from.
    position bigint not null,
    events bigint not null,
    -- What differs from what happened, as JSON: counts of groups, no names.
    difference jsonb not null,
    primary key (tenant, name)
);
call tenure_isolate('sandbox');
grant select on sandbox to tenure_app;

-- What runs inside a sandbox may read history, and what it is compared with; it may write only what its sandbox grants it. (The role
-- is made before migrations run, like the others.)
grant usage on schema public to tenure_what_if;
grant select on event, consumer_checkpoint, parked, model_version, model_report, employee, employee_version, department_stats, team_stats,
    timeline_entry, risk, risk_history, readiness, readiness_history, program, tenant_settings, connection to tenure_what_if;

-- Nobody's rows are to outlive an erasure in a sandbox. Runs as the owner, because the application has no right to sandboxes; it takes
-- out only rows of a tenant that the caller works for. Whoever makes a sandbox holds the lock from the last look for erasures to the end of
-- the transaction, so that each of the two sees the other.
create function tenure_forget_in_sandboxes(of_tenant uuid, of_employees uuid[]) returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    place record;
begin
    perform pg_advisory_xact_lock_shared(7469);
    if not coalesce(of_tenant = any (app_tenants()), false) then
        raise exception 'this transaction does not work for tenant %', of_tenant;
    end if;
    for place in
        select s.schema_name, c.relname, a.attname
          from sandbox s
          join pg_namespace n on n.nspname = s.schema_name
          join pg_class c on c.relnamespace = n.oid and c.relkind = 'r'
          join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
               and a.attname = case c.relname when 'employee' then 'id' else 'employee' end
         where s.tenant = of_tenant
         order by 1, 2
    loop
        execute format('delete from %I.%I where %I = any ($1)', place.schema_name, place.relname, place.attname) using of_employees;
    end loop;
end $$;
revoke all on function tenure_forget_in_sandboxes(uuid, uuid[]) from public;
grant execute on function tenure_forget_in_sandboxes(uuid, uuid[]) to tenure_app;
