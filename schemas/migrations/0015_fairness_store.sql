-- The fairness store: protected attributes, for audits and nothing else. It has a schema and a role of its own (roles are made before
-- migrations run, infra::database): the role that scorer, training and query API work with has no right to anything here.
create schema fairness;
grant usage on schema fairness to tenure_fairness;

create table fairness.attributes (
    tenant   uuid   not null,
    employee uuid   not null,
    -- What is on record of the person (gender, date of birth, ethnicity), sealed with the person's key.
    sealed   bytea  not null,
    -- The log position of the event that said so.
    position bigint not null,
    primary key (tenant, employee)
);
call tenure_isolate('fairness.attributes');
grant select, insert, update, delete on fairness.attributes to tenure_fairness;

-- What its projection needs to run as the others do: whose events there are, how far it got, and what it could not apply. Not the log, no
-- keys, no scores: scores and attributes meet in an audit only.
grant usage on schema public to tenure_fairness;
grant select on tenant_directory to tenure_fairness;
grant select, insert, update on consumer_checkpoint to tenure_fairness;
grant select, insert, update, delete on parked to tenure_fairness;
