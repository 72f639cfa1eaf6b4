-- What happened to each command: written in the transaction that appends its events, so that a retry finds the first answer.
create table command_outcome (
    tenant      uuid        not null,
    command_id  uuid        not null,
    kind        text        not null,
    stream_id   uuid        not null,
    fingerprint text,
    -- 'accepted' or 'rejected'
    outcome     text        not null check (outcome in ('accepted', 'rejected')),
    -- The position of its last event; of nothing, if nothing changed.
    position    bigint,
    revision    bigint,
    -- The rule that it broke, in words.
    rejection   text,
    decided_at  timestamptz not null,
    primary key (tenant, command_id)
);
call tenure_isolate('command_outcome');

-- How far each consumer got in each partition. The epoch rises when a partition changes hands: an old owner's transaction
-- then changes nothing.
create table consumer_checkpoint (
    consumer    text        not null,
    topic       text        not null,
    "partition" integer     not null,
    next_offset bigint      not null,
    -- The log position of the last event that was applied (0 for consumers of the intake).
    position    bigint      not null default 0,
    -- When that event was recorded: lag in seconds.
    recorded_at timestamptz,
    epoch       bigint      not null,
    primary key (consumer, topic, "partition")
);

-- How far the log has been relayed to Kafka.
create table relay_checkpoint (
    only_row    boolean primary key default true check (only_row),
    position    bigint not null,
    -- The last position that was sent to each partition.
    sent        jsonb  not null default '{}'
);
insert into relay_checkpoint (position) values (0);

-- Employees whose source said that something changed, to be read from there. Several notifications become one reading.
create table completion (
    tenant       uuid        not null,
    connection   uuid        not null,
    remote_id    text        not null,
    -- Rises with each notification: a reading that began before the last one does not count as its completion.
    generation   bigint      not null default 1,
    attempts     integer     not null default 0,
    not_before   timestamptz not null default now(),
    last_problem text,
    -- The last notification, sealed with the tenant's key: its fields are used if the source cannot be asked.
    notification bytea       not null,
    correlation  uuid        not null,
    backfill     boolean     not null default false,
    primary key (tenant, connection, remote_id)
);
create index completion_due on completion (not_before);
call tenure_isolate('completion');

-- Commands that projections send back into the intake, written with the rows that cause them.
create table outbox (
    id         uuid        not null,
    tenant     uuid        not null,
    kind       text        not null,
    stream_id  uuid        not null,
    -- AnyCommand, sealed with the tenant's key.
    command    bytea       not null,
    actor      text        not null,
    correlation uuid       not null,
    primary key (tenant, id)
);
call tenure_isolate('outbox');

-- What could not be processed, with its cause. Holds back only its own stream.
create table parked (
    id          uuid        not null,
    tenant      uuid        not null,
    consumer    text        not null,
    kind        text        not null,
    stream_id   uuid        not null,
    topic       text        not null,
    "partition" integer     not null,
    "offset"    bigint      not null,
    -- The log position, 0 in the intake.
    position    bigint      not null,
    cause       text        not null,
    -- The record as it was: headers as JSON, value sealed as it came.
    headers     jsonb       not null,
    value       bytea       not null,
    parked_at   timestamptz not null default now(),
    retry_at    timestamptz,
    primary key (tenant, id)
);
create index parked_by_stream on parked (tenant, consumer, kind, stream_id, position);
call tenure_isolate('parked');

-- Which tenant a connection belongs to: a webhook's address names only the connection. Holds nothing else, and may be
-- looked up by anyone who knows the id.
create table connection_route (
    connection uuid primary key,
    tenant     uuid not null
);
alter table connection_route enable row level security;
alter table connection_route force row level security;
create policy anyone_who_knows_the_id on connection_route for select using (true);
create policy own_tenant on connection_route for insert with check (tenant = any ((select app_tenants())::uuid[]));
