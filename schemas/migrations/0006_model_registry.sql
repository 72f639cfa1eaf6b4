-- Every model that was ever trained, with its card. Which one is used is an event of the tenant.
create table model_version (
    tenant     uuid        not null,
    version    text        not null,
    artifact   bytea       not null,
    created_at timestamptz not null,
    primary key (tenant, version)
);
call tenure_isolate('model_version');
