-- Career programs, and how ready their candidates are.
create table program (
    tenant      uuid   not null,
    id          uuid   not null,
    name        text   not null,
    titles_from text[] not null,
    titles_to   text[] not null,
    -- OPEN or CLOSED.
    status      text   not null,
    -- The version in use; null: no scores yet.
    model       text,
    position    bigint not null,
    primary key (tenant, id)
);
call tenure_isolate('program');

create table readiness (
    tenant       uuid             not null,
    employee     uuid             not null,
    program      uuid             not null,
    probability  double precision not null,         -- personal
    horizon_days smallint         not null,
    level        text             not null,
    factors      json             not null,         -- personal
    model        text             not null,
    scored_at    timestamptz      not null,
    position     bigint           not null,
    -- The digest of the model's inputs.
    vector       text             not null,
    primary key (tenant, employee, program)
);
create index readiness_by_probability on readiness (tenant, program, probability desc, employee);
call tenure_isolate('readiness');

create table readiness_history (
    tenant       uuid             not null,
    employee     uuid             not null,
    -- The log position of the assessment itself.
    position     bigint           not null,
    program      uuid             not null,
    probability  double precision,                  -- personal; null when unreadable
    horizon_days smallint         not null,
    level        text             not null,
    model        text             not null,
    scored_at    timestamptz      not null,
    primary key (tenant, employee, position)
);
create index readiness_history_by_model on readiness_history (tenant, model);
call tenure_isolate('readiness_history');

grant select, insert, update, delete on program, readiness, readiness_history to tenure_app;
