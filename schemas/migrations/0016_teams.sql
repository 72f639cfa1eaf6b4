-- Who reported to whom and who left, by day: from it the projection `teams` tells people of their colleagues' exits. Ids and dates
-- only. Rebuilt from the log like a read model; what is told again is no event again.

create table team_person (
    tenant      uuid        not null,
    employee    uuid        not null,
    -- What the person's own stream says of standing, managers and notices (projection_workers::teams::facts).
    facts       json        not null,
    -- Of the last event that they come from.
    position    bigint      not null,
    -- From when on colleagues can be told what changed; null when they have been.
    due_at      timestamptz,
    -- Whether all that changed since colleagues were told is imported history.
    backfill    boolean     not null,
    -- What the last change is part of.
    correlation uuid        not null,
    primary key (tenant, employee)
);
create index team_person_due on team_person (tenant, due_at) where due_at is not null;
call tenure_isolate('team_person');

-- A team is known by its manager's id. Half-open in time; rows of one person do not overlap.
create table team_membership (
    tenant   uuid    not null,
    team     uuid    not null,
    employee uuid    not null,
    from_on  date    not null,
    to_on    date    not null,
    -- Whether it is known from imported history.
    backfill boolean not null,
    check (from_on < to_on),
    primary key (tenant, team, employee, from_on)
);
create index team_membership_by_employee on team_membership (tenant, employee);
call tenure_isolate('team_membership');

-- An exit has up to two rows: one for the team that the person was of, one for the team that the person led.
create table team_exit (
    tenant   uuid    not null,
    employee uuid    not null,
    exit_on  date    not null,
    -- Who the person is to those of the team: 'peer' or 'manager'.
    relation text    not null,
    team     uuid    not null,
    backfill boolean not null,
    primary key (tenant, employee, exit_on, relation)
);
create index team_exit_by_team on team_exit (tenant, team, exit_on);
call tenure_isolate('team_exit');

-- Who has been told of which exit, and has not been told since that it is none.
create table team_told (
    tenant    uuid    not null,
    teammate  uuid    not null,
    colleague uuid    not null,
    exit_on   date    not null,
    relation  text    not null,
    backfill  boolean not null,
    primary key (tenant, teammate, colleague, exit_on)
);
create index team_told_by_colleague on team_told (tenant, colleague);
call tenure_isolate('team_told');

grant select, insert, update, delete on team_person, team_membership, team_exit, team_told to tenure_app;

-- An exit and its being taken back are two commands, of which the first has to be sent first.
alter table outbox
    add column number   bigint  not null generated always as identity,
    -- Whether the command tells of imported history.
    add column backfill boolean not null default false;
create index outbox_by_number on outbox (number);

create or replace function tenure_refresh_statistics() returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    -- A rough idea will do: 3,000 rows of each table.
    set local default_statistics_target = 10;
    analyze stream, event_id, command_outcome, employee, employee_version, department_stats, team_stats, timeline_entry,
            risk, risk_history, feature_state, team_person, team_membership, team_exit, team_told;
end $$;
