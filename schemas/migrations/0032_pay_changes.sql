-- Changes of pay that are asked for here and made elsewhere, as they stand.
create table pay_change (
    tenant         uuid        not null,
    employee       uuid        not null,
    id             uuid        not null,
    connection     uuid        not null,
    -- REQUESTED, APPROVED, SUBMITTING, SUBMITTED, ACCEPTED; DECLINED, WITHDRAWN, ABANDONED, REJECTED, EFFECTIVE, OVERTAKEN.
    stage          text        not null,
    -- The first day with the new rate.
    effective_on   date        not null,
    requested_by   text        not null,
    requested_at   timestamptz not null,
    -- The request's place in the log.
    requested_position bigint  not null,
    decided_by     text,
    -- What the other system calls it.
    reference      text,
    -- Why it was rejected: a word, and the other system's.
    cause          text,
    message        text,
    changed_at     timestamptz not null,
    -- The request, sealed as in the log: the rate and the reason are in it.
    event_id       uuid        not null,
    schema_version smallint    not null,
    data           bytea       not null,
    position       bigint      not null,
    primary key (tenant, employee, id)
);
create index pay_change_by_stage on pay_change (tenant, stage, requested_position desc);
create index pay_change_by_request on pay_change (tenant, requested_position desc);
call tenure_isolate('pay_change');
grant select, insert, update, delete on pay_change to tenure_app;
grant select on pay_change to tenure_what_if;

-- What is to be done next about each of those that are under way. Whoever takes one moves `due_at` on by a lease, so that it is taken up
-- again if that process dies. One that waits for people, or for its day, is not due.
create table pay_change_task (
    tenant       uuid        not null,
    employee     uuid        not null,
    change       uuid        not null,
    connection   uuid        not null,
    due_at       timestamptz not null,
    attempts     integer     not null default 0,
    -- Another with every event: what was found out about an earlier stage does not put off the next.
    generation   bigint      not null default nextval('completion_generation'),
    -- When a request was sent of which nobody knows what became.
    sent_at      timestamptz,
    last_problem text,
    primary key (tenant, employee, change)
);
create index pay_change_task_due on pay_change_task (due_at);
call tenure_isolate('pay_change_task');
grant select, insert, update, delete on pay_change_task to tenure_app;
