-- A challenger is a model that is asked about the same people as the one in use, and shown to nobody: what both said, once a
-- month for each person, to be held against what happens.
alter table tenant_settings add column challenger text;

create table shadow_score (
    tenant                uuid             not null,
    employee              uuid             not null,
    challenger            text             not null,
    -- The first day of the month.
    month                 date             not null,
    probability           double precision not null, -- personal
    champion              text             not null,
    champion_probability  double precision not null, -- personal
    horizon_days          smallint         not null,
    scored_at             timestamptz      not null,
    primary key (tenant, employee, challenger, month)
);
create index shadow_score_by_challenger on shadow_score (tenant, challenger);
call tenure_isolate('shadow_score');

grant select, insert, delete on shadow_score to tenure_app;
