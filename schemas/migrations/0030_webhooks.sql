-- A webhook that Tenure registered is looked after: whether it is still there, and what of it never arrived. Accounts of an identity
-- provider are looked for among the employees of other sources.
alter table connection_task drop constraint connection_task_task_check;
alter table connection_task add constraint connection_task_task_check
    check (task in ('import', 'changes', 'reconciliation', 'inbox', 'webhooks', 'accounts'));
