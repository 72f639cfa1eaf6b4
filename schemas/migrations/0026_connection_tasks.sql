-- What is to be done for a connection besides reading whom it tells of, and when: the first import, asking who changed, comparing
-- everybody. Whoever takes one moves `due_at` on by a lease, so that it is taken up again if that process dies.
create table connection_task (
    tenant       uuid        not null,
    connection   uuid        not null,
    task         text        not null check (task in ('import', 'changes', 'reconciliation')),
    due_at       timestamptz not null default now(),
    attempts     integer     not null default 0,
    -- Where changes are asked for from: the source's own clock.
    cursor       timestamptz,
    last_problem text,
    done_at      timestamptz,
    primary key (tenant, connection, task)
);
create index connection_task_due on connection_task (due_at);
call tenure_isolate('connection_task');
grant select, insert, update, delete on connection_task to tenure_app;

-- How a reading came about. What a notification told of is no gap; what had to be asked for is one.
alter table completion add column found_by text not null default 'notification'
    check (found_by in ('notification', 'import', 'changes', 'reconciliation'));
