-- Tenant isolation: one setting, one policy for every table.
--
-- A transaction names the tenants that it works for in `app.tenants` (set_config(..., true): for this transaction only).
-- Never set, or left empty by an earlier transaction, it names nobody: no row is visible and none can be written.
create function app_tenants() returns uuid[]
    language sql stable parallel safe
    return coalesce(nullif(current_setting('app.tenants', true), ''), '{}')::uuid[];

-- Puts a table under row-level security, for its owner too.
create procedure tenure_isolate(isolated regclass)
    language plpgsql as $$
begin
    execute format('alter table %s enable row level security', isolated);
    execute format('alter table %s force row level security', isolated);
    -- The sub-select is evaluated once per statement, not once per row.
    execute format(
        'create policy own_tenant on %s using (tenant = any ((select app_tenants())::uuid[])) '
        'with check (tenant = any ((select app_tenants())::uuid[]))', isolated);
end $$;
