-- The truth. Appended by the appender only, never changed.

-- One row: the position of the last event. Updated in the append transaction, so that positions are gapless and in the
-- order of commits (a rollback gives the numbers back).
create table log_head (
    only_row boolean primary key default true check (only_row),
    position bigint not null check (position >= 0),
    -- When the last event was recorded; never goes back, whatever a clock does.
    recorded_at timestamptz not null
);
insert into log_head (position, recorded_at) values (0, '1970-01-01T00:00:00Z');

-- The revision of each stream: compare-and-set guards every append.
create table stream (
    tenant   uuid   not null,
    kind     text   not null,
    id       uuid   not null,
    revision bigint not null check (revision > 0),
    primary key (tenant, kind, id)
);
call tenure_isolate('stream');

create table event (
    position       bigint      not null primary key,
    tenant         uuid        not null,
    kind           text        not null,
    stream_id      uuid        not null,
    revision       bigint      not null,
    event_id       uuid        not null,
    event_type     text        not null,
    schema_version smallint    not null,
    effective_on   date        not null,
    recorded_at    timestamptz not null,
    actor          text        not null,
    correlation_id uuid        not null,
    causation_id   uuid        not null,
    backfill       boolean     not null,
    traceparent    text,
    -- Sealed JSON (infra::sealing).
    data           bytea       not null
) partition by range (position);
create index event_by_stream on event (tenant, kind, stream_id, revision);
call tenure_isolate('event');

-- Which position an event id got: an append that repeats it is answered with the first one.
create table event_id (
    tenant   uuid   not null,
    event_id uuid   not null,
    position bigint not null,
    primary key (tenant, event_id)
);
call tenure_isolate('event_id');

-- Partitions of ten million events, so that old ones can be archived whole. Runs as the owner, because the application may
-- not create tables; it takes nothing from its caller but a number.
create function tenure_prepare_log(head bigint) returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    span  constant bigint := 10000000;
    first bigint := (head / span) * span;
begin
    -- The one that is being filled and the next.
    for i in 0..1 loop
        if to_regclass(format('event_from_%s', first + i * span)) is null then
            execute format('create table event_from_%s partition of event for values from (%s) to (%s)',
                           first + i * span, first + i * span, first + (i + 1) * span);
        end if;
    end loop;
end $$;
select tenure_prepare_log(0);

create function refuse_change() returns trigger
    language plpgsql as $$
begin
    raise exception 'the event log is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger event_is_append_only before update or delete on event
    for each row execute function refuse_change();
create trigger event_is_not_truncated before truncate on event
    for each statement execute function refuse_change();
