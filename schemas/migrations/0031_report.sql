-- Reports that are fetched.
alter table connection_task drop constraint connection_task_task_check;
alter table connection_task add constraint connection_task_task_check
    check (task in ('import', 'changes', 'reconciliation', 'inbox', 'webhooks', 'accounts', 'report'));
