-- What can wait while others are at work: the people of a file. It is sent on little by little, each tenant's in the order in which it was
-- stored (projection-workers/src/bulk.rs).
alter table outbox
    add column bulk        boolean not null default false,
    -- The trace in which the command was given.
    add column traceparent text;
drop index outbox_by_number;
create index outbox_by_number on outbox (number) where not bulk;
create index outbox_bulk on outbox (tenant, number) where bulk;
