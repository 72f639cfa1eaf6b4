-- Files that somebody puts into a connection's folder are taken in by a task of their own.
alter table connection_task drop constraint connection_task_task_check;
alter table connection_task add constraint connection_task_task_check
    check (task in ('import', 'changes', 'reconciliation', 'inbox'));
