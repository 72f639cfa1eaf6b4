-- Read models: written by projections only, rebuilt from the log at will. Columns marked personal are cleared on erasure.

create table employee (
    tenant             uuid    not null,
    id                 uuid    not null,
    connection         uuid,
    remote_id          text,
    display_name       text,                       -- personal
    work_email         text,                       -- personal
    work_phone         text,                       -- personal
    mobile_phone       text,                       -- personal
    job_title          text,
    department         text,
    division           text,
    location           text,
    manager            uuid,
    status             text    not null,
    hired_on           date    not null,
    left_on            date,
    -- Notice given and not withdrawn.
    notice_on          date,
    last_day           date,
    weekly_minutes     integer,
    objects_to_scoring boolean not null,
    -- The next day on which what is believed today changes by itself (a future-dated fact becomes true).
    next_change_on     date,
    position           bigint  not null,
    primary key (tenant, id)
);
create index employee_by_name on employee (tenant, lower(display_name), id);
create index employee_by_department on employee (tenant, department, id);
create index employee_by_location on employee (tenant, location, id);
create index employee_by_manager on employee (tenant, manager, id);
create index employee_by_next_change on employee (next_change_on) where next_change_on is not null;
call tenure_isolate('employee');

-- Bitemporal: true in the world from effective_from to effective_to, believed from recorded_from to recorded_to (both
-- half-open; 9999-12-31 is for ever).
create table employee_version (
    tenant         uuid        not null,
    employee       uuid        not null,
    effective_from date        not null,
    effective_to   date        not null,
    recorded_from  timestamptz not null,
    recorded_to    timestamptz not null,
    -- Which attributes a fact set on effective_from (bits of projections::version::Attribute).
    asserted       integer     not null,
    standing       text        not null,
    job_title      text,
    department     text,
    division       text,
    location       text,
    manager        uuid,
    weekly_minutes integer,
    position       bigint      not null,
    check (effective_from < effective_to),
    check (recorded_from < recorded_to),
    primary key (tenant, employee, effective_from, recorded_from)
);
create index employee_version_believed on employee_version (tenant, employee) where recorded_to = '9999-12-31T00:00:00Z';
create index employee_version_as_of on employee_version (tenant, effective_from, effective_to, recorded_from, recorded_to);
call tenure_isolate('employee_version');

create table department_stats (
    tenant     uuid   not null,
    department text   not null,
    headcount  bigint not null,
    on_leave   bigint not null,
    on_notice  bigint not null,
    departed   bigint not null,
    primary key (tenant, department)
);
call tenure_isolate('department_stats');

create table team_stats (
    tenant     uuid   not null,
    manager    uuid   not null,
    headcount  bigint not null,
    on_leave   bigint not null,
    on_notice  bigint not null,
    departed   bigint not null,
    primary key (tenant, manager)
);
call tenure_isolate('team_stats');

create table timeline_entry (
    tenant         uuid        not null,
    employee       uuid        not null,
    position       bigint      not null,
    kind           text        not null,
    stream_id      uuid        not null,
    event_id       uuid        not null,
    event_type     text        not null,
    schema_version smallint    not null,
    effective_on   date        not null,
    recorded_at    timestamptz not null,
    actor          text        not null,
    -- Sealed, as in the log: opened when it is shown.
    data           bytea       not null,
    primary key (tenant, employee, position)
);
call tenure_isolate('timeline_entry');

create table risk (
    tenant       uuid             not null,
    employee     uuid             not null,
    probability  double precision not null,         -- personal
    horizon_days smallint         not null,
    band         text             not null,
    factors      jsonb            not null,         -- personal
    model        text             not null,
    scored_at    timestamptz      not null,
    position     bigint           not null,
    primary key (tenant, employee)
);
create index risk_by_probability on risk (tenant, probability desc, employee);
create index risk_by_band on risk (tenant, band, employee);
call tenure_isolate('risk');

create table risk_history (
    tenant       uuid             not null,
    employee     uuid             not null,
    -- The log position of the assessment itself.
    position     bigint           not null,
    probability  double precision,                  -- personal; null when unreadable
    horizon_days smallint         not null,
    band         text             not null,
    factors      jsonb            not null,         -- personal
    model        text             not null,
    scored_at    timestamptz      not null,
    -- The position that the score was made from.
    scored_position bigint        not null,
    primary key (tenant, employee, position)
);
call tenure_isolate('risk_history');

-- The scorer's fold per employee, sealed with the person's key.
create table feature_state (
    tenant   uuid   not null,
    employee uuid   not null,
    state    bytea  not null,
    position bigint not null,
    primary key (tenant, employee)
);
call tenure_isolate('feature_state');

create table tenant_settings (
    tenant   uuid   not null primary key,
    name     text   not null,
    bands    jsonb  not null,
    model    text,
    position bigint not null
);
call tenure_isolate('tenant_settings');

create table connection (
    tenant         uuid   not null,
    id             uuid   not null,
    vendor         text   not null,
    company_domain text   not null,
    status         text   not null,
    last_cause     text,
    synchronised_at timestamptz,
    employees      bigint,
    position       bigint not null,
    primary key (tenant, id)
);
call tenure_isolate('connection');
