-- Which log this database has: what is relayed says so, and whoever reads it knows the records of another one, which a Kafka may hold
-- that had another database before.
create table log_identity (
    only_row boolean not null primary key default true check (only_row),
    id       uuid    not null default gen_random_uuid()
);
insert into log_identity default values;
grant select on log_identity to tenure_app, tenure_fairness;
