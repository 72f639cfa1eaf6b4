-- How well each source told, by day (UTC). Counted in the transaction that takes in what it told, so that each thing counts once,
-- however often it is processed. Not a read model: what told nothing new leaves no event.
create table source_quality (
    tenant        uuid   not null,
    connection    uuid   not null,
    day           date   not null,
    -- Notifications, each person of a message counted; of these duplicate, late, out of order:
    received      bigint not null default 0,
    duplicate     bigint not null default 0,
    late          bigint not null default 0,
    out_of_order  bigint not null default 0,
    -- People about whom asking found news that nobody had told.
    missed        bigint not null default 0,
    -- Messages that could not be understood, and readings that a rule refused.
    rejected      bigint not null default 0,
    heard_at      timestamptz,
    primary key (tenant, connection, day)
);
call tenure_isolate('source_quality');
grant select, insert, update on source_quality to tenure_app;

-- The newest moment that a source has told of each person: what tells of an earlier one later came out of order.
create table source_told (
    tenant     uuid        not null,
    employee   uuid        not null,
    told_at    timestamptz not null,
    primary key (tenant, employee)
);
call tenure_isolate('source_told');
grant select, insert, update, delete on source_told to tenure_app;
