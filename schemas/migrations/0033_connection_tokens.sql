-- What a payroll's refresh token was last exchanged for, sealed: each exchange gives another one, and without it somebody would have to
-- grant access again.
create table connection_token (
    tenant         uuid        not null,
    connection     uuid        not null,
    content        bytea       not null,
    -- Until then one process exchanges it, and the others wait.
    renewing_until timestamptz not null default '-infinity',
    primary key (tenant, connection)
);
call tenure_isolate('connection_token');
grant select, insert, update, delete on connection_token to tenure_app;
