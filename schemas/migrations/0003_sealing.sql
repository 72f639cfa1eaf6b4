-- Wrapped keys. A tenant's key is wrapped by the master key (outside the database), a subject's key by its tenant's.

create table tenant_key (
    tenant     uuid        not null,
    key_id     uuid        not null,
    wrapped    bytea       not null,
    created_at timestamptz not null default now(),
    primary key (tenant, key_id)
);
call tenure_isolate('tenant_key');

-- One live key per person (or connection). Deleting the row makes everything that was sealed with it unreadable.
create table subject_key (
    tenant     uuid        not null,
    subject    uuid        not null,
    key_id     uuid        not null,
    wrapped    bytea       not null,
    created_at timestamptz not null default now(),
    primary key (tenant, subject)
);
call tenure_isolate('subject_key');

-- Which tenants there are: ids only, for the parts that work for all of them (each transaction still names its tenants).
create table tenant_directory (
    tenant uuid primary key
);
alter table tenant_directory enable row level security;
alter table tenant_directory force row level security;
create policy ids_are_no_secret on tenant_directory for select using (true);
create policy own_tenant on tenant_directory for insert with check (tenant = any ((select app_tenants())::uuid[]));
