-- The schema that the migrations make, for reading: read from the catalogue and compared by the test `golden_schema`.

CREATE OR REPLACE FUNCTION public.app_tenants()
 RETURNS uuid[]
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (COALESCE(NULLIF(current_setting('app.tenants'::text, true), ''::text), '{}'::text))::uuid[]
;
grant execute on function app_tenants() to public;

CREATE OR REPLACE FUNCTION public.employee_at(on_day date, known timestamp with time zone)
 RETURNS TABLE(tenant uuid, id uuid, connection uuid, remote_id text, display_name text, work_email text, work_phone text, mobile_phone text, job_title text, department text, division text, location text, manager uuid, status text, hired_on date, left_on date, notice_on date, last_day date, weekly_minutes integer, objects_to_scoring boolean, next_change_on date, "position" bigint)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    select p.tenant, p.id, p.connection, p.remote_id, p.display_name, null::text, null::text, null::text,
           v.job_title, v.department, v.division, v.location, v.manager,
           case when v.effective_from > on_day then 'PREHIRE'
                when v.standing = 'ERASED' then 'ERASED'
                when v.standing = 'ENDED' then 'LEFT'
                when v.standing = 'DELETED' then 'DELETED'
                when v.notice_on is not null then 'ON_NOTICE'
                when v.standing = 'ON_LEAVE' then 'ON_LEAVE'
                else 'ACTIVE' end,
           p.hired_on, l.left_on, v.notice_on,
           case when l.left_on is not null then l.left_on - 1
                when v.last_day is not null then v.last_day
                -- An end that was known, though no notice named it.
                else (select min(x.effective_from) - 1 from employee_version x
                       where x.tenant = p.tenant and x.employee = p.id and x.standing = 'ENDED' and x.effective_from > on_day
                         and x.recorded_from <= least(known, (on_day + 1)::timestamp at time zone 'UTC' - interval '1 microsecond')
                         and least(known, (on_day + 1)::timestamp at time zone 'UTC' - interval '1 microsecond') < x.recorded_to) end,
           v.weekly_minutes, v.objects_to_scoring, null::date, v.position
      from employee p
           cross join lateral (
             select * from employee_version x
              where x.tenant = p.tenant and x.employee = p.id and x.standing <> 'UNKNOWN'
                and (x.effective_from <= on_day and on_day < x.effective_to and x.recorded_from <= known and known < x.recorded_to
                     or p.hired_on > on_day and x.effective_from <= p.hired_on and p.hired_on < x.effective_to
                        and x.recorded_from <= least(known, (on_day + 1)::timestamp at time zone 'UTC' - interval '1 microsecond')
                        and least(known, (on_day + 1)::timestamp at time zone 'UTC' - interval '1 microsecond') < x.recorded_to)
              order by x.effective_from limit 1) v
           -- Since when without a break.
           left join lateral (
             select coalesce(max(x.effective_to) filter (where x.standing <> 'ENDED'), min(x.effective_from)) as left_on
               from employee_version x
              where v.standing = 'ENDED' and v.effective_from <= on_day and x.tenant = p.tenant and x.employee = p.id
                and x.effective_from <= on_day and x.recorded_from <= known and known < x.recorded_to) l on true
$function$
;
grant execute on function employee_at(date,timestamp with time zone) to public;

CREATE OR REPLACE FUNCTION public.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    raise exception 'the event log is append-only' using errcode = 'insufficient_privilege';
end $function$
;
grant execute on function refuse_change() to public;

CREATE OR REPLACE FUNCTION public.risk_at(of_tenant uuid, of_employee uuid, on_day date, known timestamp with time zone)
 RETURNS TABLE(tenant uuid, employee uuid, probability double precision, horizon_days smallint, band text, factors json, model text, scored_at timestamp with time zone, "position" bigint, vector text, assessed_at bigint)
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    select h.tenant, h.employee, h.probability, h.horizon_days, h.band, h.factors, h.model, h.scored_at, h.scored_position, h.vector, h.position
      from risk_history h
     where h.tenant = of_tenant and h.employee = of_employee and h.recorded_at <= known
       and h.scored_at < (on_day + 1)::timestamp at time zone 'UTC' and h.probability is not null
     order by h.position desc limit 1
$function$
;
grant execute on function risk_at(uuid,uuid,date,timestamp with time zone) to public;

CREATE OR REPLACE FUNCTION public.tenure_forget_in_sandboxes(of_tenant uuid, of_employees uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    place record;
begin
    perform pg_advisory_xact_lock_shared(7469);
    if not coalesce(of_tenant = any (app_tenants()), false) then
        raise exception 'this transaction does not work for tenant %', of_tenant;
    end if;
    for place in
        select s.schema_name, c.relname, a.attname
          from sandbox s
          join pg_namespace n on n.nspname = s.schema_name
          join pg_class c on c.relnamespace = n.oid and c.relkind = 'r'
          join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
               and a.attname = case c.relname when 'employee' then 'id' else 'employee' end
         where s.tenant = of_tenant
         order by 1, 2
    loop
        execute format('delete from %I.%I where %I = any ($1)', place.schema_name, place.relname, place.attname) using of_employees;
    end loop;
end $function$
;
grant execute on function tenure_forget_in_sandboxes(uuid,uuid[]) to tenure_app;

CREATE OR REPLACE FUNCTION public.tenure_forget_kept_generation()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    perform pg_advisory_xact_lock(7468); -- two partitions may erase at once
    if to_regnamespace('read_models_kept') is not null then
        drop schema read_models_kept cascade;
    end if;
    if to_regnamespace('read_models_building') is not null and pg_try_advisory_xact_lock(7467) then
        drop schema read_models_building cascade;
    end if;
end $function$
;
grant execute on function tenure_forget_kept_generation() to tenure_app;

CREATE OR REPLACE PROCEDURE public.tenure_guard_partition(IN partition regclass)
 LANGUAGE plpgsql
AS $procedure$
begin
    call tenure_isolate(partition);
    execute format('create trigger event_is_not_truncated before truncate on %s '
                   'for each statement execute function refuse_change()', partition);
end $procedure$
;
grant execute on procedure tenure_guard_partition(regclass) to public;

CREATE OR REPLACE PROCEDURE public.tenure_isolate(IN isolated regclass)
 LANGUAGE plpgsql
AS $procedure$
begin
    execute format('alter table %s enable row level security', isolated);
    execute format('alter table %s force row level security', isolated);
    -- The sub-select is evaluated once per statement, not once per row.
    execute format(
        'create policy own_tenant on %s using (tenant = any ((select app_tenants())::uuid[])) '
        'with check (tenant = any ((select app_tenants())::uuid[]))', isolated);
end $procedure$
;
grant execute on procedure tenure_isolate(regclass) to public;

CREATE OR REPLACE FUNCTION public.tenure_prepare_log(head bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    span  constant bigint := 10000000;
    first bigint := (head / span) * span;
    name  text;
begin
    -- The one that is being filled and the next.
    for i in 0..1 loop
        name := format('event_from_%s', first + i * span);
        if to_regclass(name) is null then
            execute format('create table %s partition of event for values from (%s) to (%s)',
                           name, first + i * span, first + (i + 1) * span);
            call tenure_guard_partition(name::regclass);
        end if;
    end loop;
end $function$
;
grant execute on function tenure_prepare_log(bigint) to tenure_app;

CREATE OR REPLACE FUNCTION public.tenure_refresh_statistics()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    -- A rough idea will do: 3,000 rows of each table.
    set local default_statistics_target = 10;
    analyze stream, event_id, command_outcome, employee, employee_version, department_stats, team_stats, timeline_entry,
            risk, risk_history, feature_state, team_person, team_membership, team_exit, team_told;
end $function$
;
grant execute on function tenure_refresh_statistics() to tenure_app;

create table archived_stream (
    tenant uuid not null,
    kind text not null,
    stream_id uuid not null,
    archive bigint not null,
    revision bigint not null,
    positions bigint[] not null,
    constraint archived_stream_pkey PRIMARY KEY (tenant, kind, stream_id, archive)
);
alter table archived_stream enable row level security;
alter table archived_stream force row level security;
create policy own_tenant on archived_stream for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant select on archived_stream to tenure_app;
grant select on archived_stream to tenure_what_if;

create table command_outcome (
    tenant uuid not null,
    command_id uuid not null,
    kind text not null,
    stream_id uuid not null,
    fingerprint text,
    outcome text not null,
    "position" bigint,
    revision bigint,
    rejection text,
    decided_at timestamp with time zone not null,
    constraint command_outcome_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'rejected'::text]))),
    constraint command_outcome_pkey PRIMARY KEY (tenant, command_id)
);
alter table command_outcome enable row level security;
alter table command_outcome force row level security;
create policy own_tenant on command_outcome for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select on command_outcome to tenure_app;

create table completion (
    tenant uuid not null,
    connection uuid not null,
    remote_id text not null,
    generation bigint not null default nextval('completion_generation'::regclass),
    attempts integer not null default 0,
    not_before timestamp with time zone not null default now(),
    last_problem text,
    notification bytea not null,
    correlation uuid not null,
    backfill boolean not null default false,
    found_by text not null default 'notification'::text,
    constraint completion_found_by_check CHECK ((found_by = ANY (ARRAY['notification'::text, 'import'::text, 'changes'::text, 'reconciliation'::text]))),
    constraint completion_pkey PRIMARY KEY (tenant, connection, remote_id)
);
CREATE INDEX completion_due ON public.completion USING btree (not_before);
alter table completion enable row level security;
alter table completion force row level security;
create policy own_tenant on completion for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on completion to tenure_app;

create table connection (
    tenant uuid not null,
    id uuid not null,
    vendor text not null,
    company_domain text not null,
    status text not null,
    last_cause text,
    synchronised_at timestamp with time zone,
    employees bigint,
    "position" bigint not null,
    constraint connection_pkey PRIMARY KEY (tenant, id)
);
alter table connection enable row level security;
alter table connection force row level security;
create policy own_tenant on connection for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on connection to tenure_app;
grant select on connection to tenure_what_if;

create table connection_route (
    connection uuid not null,
    tenant uuid not null,
    constraint connection_route_pkey PRIMARY KEY (connection)
);
alter table connection_route enable row level security;
alter table connection_route force row level security;
create policy anyone_who_knows_the_id on connection_route for select to public using (true);
create policy own_tenant on connection_route for insert to public with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select on connection_route to tenure_app;

create table connection_task (
    tenant uuid not null,
    connection uuid not null,
    task text not null,
    due_at timestamp with time zone not null default now(),
    attempts integer not null default 0,
    cursor timestamp with time zone,
    last_problem text,
    done_at timestamp with time zone,
    constraint connection_task_pkey PRIMARY KEY (tenant, connection, task),
    constraint connection_task_task_check CHECK ((task = ANY (ARRAY['import'::text, 'changes'::text, 'reconciliation'::text, 'inbox'::text, 'webhooks'::text, 'accounts'::text, 'report'::text])))
);
CREATE INDEX connection_task_due ON public.connection_task USING btree (due_at);
alter table connection_task enable row level security;
alter table connection_task force row level security;
create policy own_tenant on connection_task for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on connection_task to tenure_app;

create table connection_token (
    tenant uuid not null,
    connection uuid not null,
    content bytea not null,
    renewing_until timestamp with time zone not null default '-infinity'::timestamp with time zone,
    constraint connection_token_pkey PRIMARY KEY (tenant, connection)
);
alter table connection_token enable row level security;
alter table connection_token force row level security;
create policy own_tenant on connection_token for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on connection_token to tenure_app;

create table consumer_checkpoint (
    consumer text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    "position" bigint not null default 0,
    recorded_at timestamp with time zone,
    epoch bigint not null,
    constraint consumer_checkpoint_pkey PRIMARY KEY (consumer, topic, partition)
);
grant insert, select, update on consumer_checkpoint to tenure_app;
grant insert, select, update on consumer_checkpoint to tenure_fairness;
grant select on consumer_checkpoint to tenure_what_if;

create table department_stats (
    tenant uuid not null,
    department text not null,
    headcount bigint not null,
    on_leave bigint not null,
    on_notice bigint not null,
    departed bigint not null,
    constraint department_stats_pkey PRIMARY KEY (tenant, department)
);
alter table department_stats enable row level security;
alter table department_stats force row level security;
create policy own_tenant on department_stats for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on department_stats to tenure_app;
grant select on department_stats to tenure_what_if;

create table employee (
    tenant uuid not null,
    id uuid not null,
    connection uuid,
    remote_id text,
    display_name text,
    work_email text,
    work_phone text,
    mobile_phone text,
    job_title text,
    department text,
    division text,
    location text,
    manager uuid,
    status text not null,
    hired_on date not null,
    left_on date,
    notice_on date,
    last_day date,
    weekly_minutes integer,
    objects_to_scoring boolean not null,
    next_change_on date,
    "position" bigint not null,
    constraint employee_pkey PRIMARY KEY (tenant, id)
);
CREATE INDEX employee_by_department ON public.employee USING btree (tenant, department, id);
CREATE INDEX employee_by_location ON public.employee USING btree (tenant, location, id);
CREATE INDEX employee_by_manager ON public.employee USING btree (tenant, manager, id);
CREATE INDEX employee_by_name ON public.employee USING btree (tenant, lower(display_name), id);
CREATE INDEX employee_by_next_change ON public.employee USING btree (next_change_on) WHERE (next_change_on IS NOT NULL);
CREATE INDEX employee_by_work_email ON public.employee USING btree (tenant, lower(work_email)) WHERE (work_email IS NOT NULL);
alter table employee enable row level security;
alter table employee force row level security;
create policy own_tenant on employee for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on employee to tenure_app;
grant select on employee to tenure_what_if;

create table employee_version (
    tenant uuid not null,
    employee uuid not null,
    effective_from date not null,
    effective_to date not null,
    recorded_from timestamp with time zone not null,
    recorded_to timestamp with time zone not null,
    asserted integer not null,
    standing text not null,
    job_title text,
    department text,
    division text,
    location text,
    manager uuid,
    weekly_minutes integer,
    "position" bigint not null,
    notice_on date,
    last_day date,
    voluntariness text,
    objects_to_scoring boolean not null default false,
    constraint employee_version_check CHECK ((effective_from < effective_to)),
    constraint employee_version_check1 CHECK ((recorded_from < recorded_to)),
    constraint employee_version_pkey PRIMARY KEY (tenant, employee, effective_from, recorded_from)
);
CREATE INDEX employee_version_as_of ON public.employee_version USING btree (tenant, effective_from, effective_to, recorded_from, recorded_to);
CREATE INDEX employee_version_believed ON public.employee_version USING btree (tenant, employee) WHERE (recorded_to = '9999-12-31 00:00:00+00'::timestamp with time zone);
CREATE INDEX employee_version_by_manager ON public.employee_version USING btree (tenant, manager, employee);
alter table employee_version enable row level security;
alter table employee_version force row level security;
create policy own_tenant on employee_version for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on employee_version to tenure_app;
grant select on employee_version to tenure_what_if;

create table event (
    "position" bigint not null,
    tenant uuid not null,
    kind text not null,
    stream_id uuid not null,
    revision bigint not null,
    event_id uuid not null,
    event_type text not null,
    schema_version smallint not null,
    effective_on date not null,
    recorded_at timestamp with time zone not null,
    actor text not null,
    correlation_id uuid not null,
    causation_id uuid not null,
    backfill boolean not null,
    traceparent text,
    data bytea not null,
    constraint event_pkey PRIMARY KEY ("position")
) partition by RANGE ("position");
CREATE INDEX event_by_stream ON ONLY public.event USING btree (tenant, kind, stream_id, revision);
alter table event enable row level security;
alter table event force row level security;
create policy own_tenant on event for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
create policy relay_reads_all on event for select to tenure_relay using (true);
CREATE TRIGGER event_is_append_only BEFORE DELETE OR UPDATE ON public.event FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER event_is_not_truncated BEFORE TRUNCATE ON public.event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
grant insert, select on event to tenure_app;
grant select on event to tenure_relay;
grant select on event to tenure_what_if;

create table event_from_0 partition of event FOR VALUES FROM ('0') TO ('10000000');
alter table event_from_0 enable row level security;
alter table event_from_0 force row level security;
create policy own_tenant on event_from_0 for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
CREATE TRIGGER event_is_not_truncated BEFORE TRUNCATE ON public.event_from_0 FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

create table event_from_10000000 partition of event FOR VALUES FROM ('10000000') TO ('20000000');
alter table event_from_10000000 enable row level security;
alter table event_from_10000000 force row level security;
create policy own_tenant on event_from_10000000 for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
CREATE TRIGGER event_is_not_truncated BEFORE TRUNCATE ON public.event_from_10000000 FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

create table event_id (
    tenant uuid not null,
    event_id uuid not null,
    "position" bigint not null,
    constraint event_id_pkey PRIMARY KEY (tenant, event_id)
);
alter table event_id enable row level security;
alter table event_id force row level security;
create policy own_tenant on event_id for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select on event_id to tenure_app;

create table feature_state (
    tenant uuid not null,
    employee uuid not null,
    state bytea not null,
    "position" bigint not null,
    constraint feature_state_pkey PRIMARY KEY (tenant, employee)
);
alter table feature_state enable row level security;
alter table feature_state force row level security;
create policy own_tenant on feature_state for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on feature_state to tenure_app;

create table log_archive (
    first bigint not null,
    last bigint not null,
    path text not null,
    archived_at timestamp with time zone not null default now(),
    constraint log_archive_check CHECK ((last >= first)),
    constraint log_archive_last_key UNIQUE (last),
    constraint log_archive_pkey PRIMARY KEY (first)
);
grant select on log_archive to tenure_app;
grant select on log_archive to tenure_relay;
grant select on log_archive to tenure_what_if;

create table log_head (
    only_row boolean not null default true,
    "position" bigint not null,
    recorded_at timestamp with time zone not null,
    constraint log_head_only_row_check CHECK (only_row),
    constraint log_head_pkey PRIMARY KEY (only_row),
    constraint log_head_position_check CHECK (("position" >= 0))
);
grant select, update on log_head to tenure_app;
grant select on log_head to tenure_relay;

create table log_identity (
    only_row boolean not null default true,
    id uuid not null default gen_random_uuid(),
    constraint log_identity_only_row_check CHECK (only_row),
    constraint log_identity_pkey PRIMARY KEY (only_row)
);
grant select on log_identity to tenure_app;
grant select on log_identity to tenure_fairness;

create table log_seal (
    "position" bigint not null,
    after bigint not null,
    hash bytea not null,
    code bytea not null,
    sealed_at timestamp with time zone not null default now(),
    constraint log_seal_after_key UNIQUE (after),
    constraint log_seal_check CHECK (("position" > after)),
    constraint log_seal_pkey PRIMARY KEY ("position")
);
CREATE TRIGGER log_seal_is_append_only BEFORE DELETE OR UPDATE ON public.log_seal FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER log_seal_is_not_truncated BEFORE TRUNCATE ON public.log_seal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
grant insert, select on log_seal to tenure_relay;

create table model_report (
    tenant uuid not null,
    model text not null,
    made_at timestamp with time zone not null,
    report json not null,
    constraint model_report_pkey PRIMARY KEY (tenant, model)
);
alter table model_report enable row level security;
alter table model_report force row level security;
create policy own_tenant on model_report for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select, update on model_report to tenure_app;
grant select on model_report to tenure_what_if;

create table model_version (
    tenant uuid not null,
    version text not null,
    artifact bytea not null,
    created_at timestamp with time zone not null,
    card json,
    constraint model_version_pkey PRIMARY KEY (tenant, version)
);
alter table model_version enable row level security;
alter table model_version force row level security;
create policy own_tenant on model_version for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select on model_version to tenure_app;
grant select on model_version to tenure_what_if;

create table outbox (
    id uuid not null,
    tenant uuid not null,
    kind text not null,
    stream_id uuid not null,
    command bytea not null,
    actor text not null,
    correlation uuid not null,
    number bigint not null,
    backfill boolean not null default false,
    bulk boolean not null default false,
    traceparent text,
    constraint outbox_pkey PRIMARY KEY (tenant, id)
);
CREATE INDEX outbox_bulk ON public.outbox USING btree (tenant, number) WHERE bulk;
CREATE INDEX outbox_by_number ON public.outbox USING btree (number) WHERE (NOT bulk);
alter table outbox enable row level security;
alter table outbox force row level security;
create policy own_tenant on outbox for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on outbox to tenure_app;

create table parked (
    id uuid not null,
    tenant uuid not null,
    consumer text not null,
    kind text not null,
    stream_id uuid not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    "position" bigint not null,
    cause text not null,
    headers jsonb not null,
    value bytea not null,
    parked_at timestamp with time zone not null default now(),
    retry_at timestamp with time zone,
    constraint parked_pkey PRIMARY KEY (tenant, id)
);
CREATE INDEX parked_by_stream ON public.parked USING btree (tenant, consumer, kind, stream_id, "position");
alter table parked enable row level security;
alter table parked force row level security;
create policy own_tenant on parked for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on parked to tenure_app;
grant delete, insert, select, update on parked to tenure_fairness;
grant select on parked to tenure_what_if;

create table pay_change (
    tenant uuid not null,
    employee uuid not null,
    id uuid not null,
    connection uuid not null,
    stage text not null,
    effective_on date not null,
    requested_by text not null,
    requested_at timestamp with time zone not null,
    requested_position bigint not null,
    decided_by text,
    reference text,
    cause text,
    message text,
    changed_at timestamp with time zone not null,
    event_id uuid not null,
    schema_version smallint not null,
    data bytea not null,
    "position" bigint not null,
    constraint pay_change_pkey PRIMARY KEY (tenant, employee, id)
);
CREATE INDEX pay_change_by_request ON public.pay_change USING btree (tenant, requested_position DESC);
CREATE INDEX pay_change_by_stage ON public.pay_change USING btree (tenant, stage, requested_position DESC);
alter table pay_change enable row level security;
alter table pay_change force row level security;
create policy own_tenant on pay_change for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on pay_change to tenure_app;
grant select on pay_change to tenure_what_if;

create table pay_change_task (
    tenant uuid not null,
    employee uuid not null,
    change uuid not null,
    connection uuid not null,
    due_at timestamp with time zone not null,
    attempts integer not null default 0,
    generation bigint not null default nextval('completion_generation'::regclass),
    sent_at timestamp with time zone,
    last_problem text,
    constraint pay_change_task_pkey PRIMARY KEY (tenant, employee, change)
);
CREATE INDEX pay_change_task_due ON public.pay_change_task USING btree (due_at);
alter table pay_change_task enable row level security;
alter table pay_change_task force row level security;
create policy own_tenant on pay_change_task for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on pay_change_task to tenure_app;

create table program (
    tenant uuid not null,
    id uuid not null,
    name text not null,
    titles_from text[] not null,
    titles_to text[] not null,
    status text not null,
    model text,
    "position" bigint not null,
    challenger text,
    constraint program_pkey PRIMARY KEY (tenant, id)
);
alter table program enable row level security;
alter table program force row level security;
create policy own_tenant on program for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on program to tenure_app;
grant select on program to tenure_what_if;

create table readiness (
    tenant uuid not null,
    employee uuid not null,
    program uuid not null,
    probability double precision not null,
    horizon_days smallint not null,
    level text not null,
    factors json not null,
    model text not null,
    scored_at timestamp with time zone not null,
    "position" bigint not null,
    vector text not null,
    constraint readiness_pkey PRIMARY KEY (tenant, employee, program)
);
CREATE INDEX readiness_by_probability ON public.readiness USING btree (tenant, program, probability DESC, employee);
alter table readiness enable row level security;
alter table readiness force row level security;
create policy own_tenant on readiness for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on readiness to tenure_app;
grant select on readiness to tenure_what_if;

create table readiness_history (
    tenant uuid not null,
    employee uuid not null,
    "position" bigint not null,
    program uuid not null,
    probability double precision,
    horizon_days smallint not null,
    level text not null,
    model text not null,
    scored_at timestamp with time zone not null,
    constraint readiness_history_pkey PRIMARY KEY (tenant, employee, "position")
);
CREATE INDEX readiness_history_by_model ON public.readiness_history USING btree (tenant, model);
alter table readiness_history enable row level security;
alter table readiness_history force row level security;
create policy own_tenant on readiness_history for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on readiness_history to tenure_app;
grant select on readiness_history to tenure_what_if;

create table relay_checkpoint (
    only_row boolean not null default true,
    "position" bigint not null,
    sent jsonb not null default '{}'::jsonb,
    constraint relay_checkpoint_only_row_check CHECK (only_row),
    constraint relay_checkpoint_pkey PRIMARY KEY (only_row)
);
grant select on relay_checkpoint to tenure_app;
grant select, update on relay_checkpoint to tenure_relay;

create table risk (
    tenant uuid not null,
    employee uuid not null,
    probability double precision not null,
    horizon_days smallint not null,
    band text not null,
    factors json not null,
    model text not null,
    scored_at timestamp with time zone not null,
    "position" bigint not null,
    vector text,
    constraint risk_pkey PRIMARY KEY (tenant, employee)
);
CREATE INDEX risk_by_band ON public.risk USING btree (tenant, band, employee);
CREATE INDEX risk_by_probability ON public.risk USING btree (tenant, probability DESC, employee);
alter table risk enable row level security;
alter table risk force row level security;
create policy own_tenant on risk for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on risk to tenure_app;
grant select on risk to tenure_what_if;

create table risk_history (
    tenant uuid not null,
    employee uuid not null,
    "position" bigint not null,
    probability double precision,
    horizon_days smallint not null,
    band text not null,
    factors json not null,
    model text not null,
    scored_at timestamp with time zone not null,
    scored_position bigint not null,
    recorded_at timestamp with time zone not null,
    vector text,
    constraint risk_history_pkey PRIMARY KEY (tenant, employee, "position")
);
CREATE INDEX risk_history_by_probability ON public.risk_history USING btree (tenant, probability DESC, employee) INCLUDE (recorded_at, scored_at, "position");
CREATE INDEX risk_history_last ON public.risk_history USING btree (tenant, employee, "position" DESC) INCLUDE (recorded_at, scored_at, probability, band);
alter table risk_history enable row level security;
alter table risk_history force row level security;
create policy own_tenant on risk_history for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on risk_history to tenure_app;
grant select on risk_history to tenure_what_if;

create table sandbox (
    tenant uuid not null,
    name text not null,
    schema_name text not null,
    title text not null,
    script text not null,
    created_at timestamp with time zone not null default now(),
    "position" bigint not null,
    events bigint not null,
    difference jsonb not null,
    constraint sandbox_pkey PRIMARY KEY (tenant, name)
);
alter table sandbox enable row level security;
alter table sandbox force row level security;
create policy own_tenant on sandbox for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant select on sandbox to tenure_app;

create table scim_member (
    tenant uuid not null,
    connection uuid not null,
    in_group uuid not null,
    member uuid not null,
    constraint scim_member_pkey PRIMARY KEY (tenant, connection, in_group, member)
);
CREATE INDEX scim_member_member ON public.scim_member USING btree (tenant, connection, member);
alter table scim_member enable row level security;
alter table scim_member force row level security;
create policy own_tenant on scim_member for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on scim_member to tenure_app;

create table scim_resource (
    tenant uuid not null,
    connection uuid not null,
    id uuid not null,
    number bigint not null,
    kind text not null,
    name_digest bytea not null,
    external_digest bytea,
    manager_digest bytea,
    email_digest bytea,
    employee uuid,
    tell_again boolean not null default false,
    tell_on date,
    content bytea not null,
    version bigint not null default 1,
    created_at timestamp with time zone not null,
    modified_at timestamp with time zone not null,
    subject uuid,
    constraint scim_resource_kind_check CHECK ((kind = ANY (ARRAY['user'::text, 'group'::text]))),
    constraint scim_resource_pkey PRIMARY KEY (tenant, connection, id)
);
CREATE INDEX scim_resource_email ON public.scim_resource USING btree (tenant, connection, email_digest) WHERE (email_digest IS NOT NULL);
CREATE INDEX scim_resource_employee ON public.scim_resource USING btree (tenant, employee) WHERE (employee IS NOT NULL);
CREATE INDEX scim_resource_external ON public.scim_resource USING btree (tenant, connection, external_digest);
CREATE INDEX scim_resource_manager ON public.scim_resource USING btree (tenant, connection, manager_digest) WHERE (manager_digest IS NOT NULL);
CREATE INDEX scim_resource_name ON public.scim_resource USING btree (tenant, connection, name_digest);
CREATE INDEX scim_resource_number ON public.scim_resource USING btree (tenant, connection, kind, number);
CREATE INDEX scim_resource_subject ON public.scim_resource USING btree (tenant, subject);
CREATE INDEX scim_resource_tell_again ON public.scim_resource USING btree (tenant, connection) WHERE tell_again;
CREATE INDEX scim_resource_tell_on ON public.scim_resource USING btree (tenant, connection, tell_on) WHERE (tell_on IS NOT NULL);
CREATE UNIQUE INDEX scim_resource_user_name ON public.scim_resource USING btree (tenant, connection, name_digest) WHERE (kind = 'user'::text);
alter table scim_resource enable row level security;
alter table scim_resource force row level security;
create policy own_tenant on scim_resource for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on scim_resource to tenure_app;

create table shadow_score (
    tenant uuid not null,
    employee uuid not null,
    challenger text not null,
    month date not null,
    probability double precision not null,
    champion text not null,
    champion_probability double precision not null,
    horizon_days smallint not null,
    scored_at timestamp with time zone not null,
    program uuid,
    constraint shadow_score_once UNIQUE NULLS NOT DISTINCT (tenant, employee, challenger, program, month)
);
CREATE INDEX shadow_score_by_challenger ON public.shadow_score USING btree (tenant, challenger);
alter table shadow_score enable row level security;
alter table shadow_score force row level security;
create policy own_tenant on shadow_score for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select on shadow_score to tenure_app;

create table source_quality (
    tenant uuid not null,
    connection uuid not null,
    day date not null,
    received bigint not null default 0,
    duplicate bigint not null default 0,
    late bigint not null default 0,
    out_of_order bigint not null default 0,
    missed bigint not null default 0,
    rejected bigint not null default 0,
    heard_at timestamp with time zone,
    constraint source_quality_pkey PRIMARY KEY (tenant, connection, day)
);
alter table source_quality enable row level security;
alter table source_quality force row level security;
create policy own_tenant on source_quality for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select, update on source_quality to tenure_app;

create table source_told (
    tenant uuid not null,
    employee uuid not null,
    told_at timestamp with time zone not null,
    constraint source_told_pkey PRIMARY KEY (tenant, employee)
);
alter table source_told enable row level security;
alter table source_told force row level security;
create policy own_tenant on source_told for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on source_told to tenure_app;

create table stream (
    tenant uuid not null,
    kind text not null,
    id uuid not null,
    revision bigint not null,
    constraint stream_pkey PRIMARY KEY (tenant, kind, id),
    constraint stream_revision_check CHECK ((revision > 0))
);
alter table stream enable row level security;
alter table stream force row level security;
create policy own_tenant on stream for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select, update on stream to tenure_app;

create table subject_key (
    tenant uuid not null,
    subject uuid not null,
    key_id uuid not null,
    wrapped bytea not null,
    created_at timestamp with time zone not null default now(),
    constraint subject_key_pkey PRIMARY KEY (tenant, subject)
);
alter table subject_key enable row level security;
alter table subject_key force row level security;
create policy own_tenant on subject_key for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select on subject_key to tenure_app;

create table team_exit (
    tenant uuid not null,
    employee uuid not null,
    exit_on date not null,
    relation text not null,
    team uuid not null,
    backfill boolean not null,
    constraint team_exit_pkey PRIMARY KEY (tenant, employee, exit_on, relation)
);
CREATE INDEX team_exit_by_team ON public.team_exit USING btree (tenant, team, exit_on);
alter table team_exit enable row level security;
alter table team_exit force row level security;
create policy own_tenant on team_exit for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on team_exit to tenure_app;

create table team_membership (
    tenant uuid not null,
    team uuid not null,
    employee uuid not null,
    from_on date not null,
    to_on date not null,
    backfill boolean not null,
    constraint team_membership_check CHECK ((from_on < to_on)),
    constraint team_membership_pkey PRIMARY KEY (tenant, team, employee, from_on)
);
CREATE INDEX team_membership_by_employee ON public.team_membership USING btree (tenant, employee);
alter table team_membership enable row level security;
alter table team_membership force row level security;
create policy own_tenant on team_membership for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on team_membership to tenure_app;

create table team_person (
    tenant uuid not null,
    employee uuid not null,
    facts json not null,
    "position" bigint not null,
    due_at timestamp with time zone,
    backfill boolean not null,
    correlation uuid not null,
    constraint team_person_pkey PRIMARY KEY (tenant, employee)
);
CREATE INDEX team_person_due ON public.team_person USING btree (tenant, due_at) WHERE (due_at IS NOT NULL);
alter table team_person enable row level security;
alter table team_person force row level security;
create policy own_tenant on team_person for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on team_person to tenure_app;

create table team_stats (
    tenant uuid not null,
    manager uuid not null,
    headcount bigint not null,
    on_leave bigint not null,
    on_notice bigint not null,
    departed bigint not null,
    constraint team_stats_pkey PRIMARY KEY (tenant, manager)
);
alter table team_stats enable row level security;
alter table team_stats force row level security;
create policy own_tenant on team_stats for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on team_stats to tenure_app;
grant select on team_stats to tenure_what_if;

create table team_told (
    tenant uuid not null,
    teammate uuid not null,
    colleague uuid not null,
    exit_on date not null,
    relation text not null,
    backfill boolean not null,
    constraint team_told_pkey PRIMARY KEY (tenant, teammate, colleague, exit_on)
);
CREATE INDEX team_told_by_colleague ON public.team_told USING btree (tenant, colleague);
alter table team_told enable row level security;
alter table team_told force row level security;
create policy own_tenant on team_told for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on team_told to tenure_app;

create table tenant_directory (
    tenant uuid not null,
    constraint tenant_directory_pkey PRIMARY KEY (tenant)
);
alter table tenant_directory enable row level security;
alter table tenant_directory force row level security;
create policy ids_are_no_secret on tenant_directory for select to public using (true);
create policy own_tenant on tenant_directory for insert to public with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select on tenant_directory to tenure_app;
grant select on tenant_directory to tenure_fairness;

create table tenant_key (
    tenant uuid not null,
    key_id uuid not null,
    wrapped bytea not null,
    created_at timestamp with time zone not null default now(),
    constraint tenant_key_pkey PRIMARY KEY (tenant, key_id)
);
alter table tenant_key enable row level security;
alter table tenant_key force row level security;
create policy own_tenant on tenant_key for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant insert, select on tenant_key to tenure_app;

create table tenant_settings (
    tenant uuid not null,
    name text not null,
    bands jsonb not null,
    model text,
    "position" bigint not null,
    challenger text,
    constraint tenant_settings_pkey PRIMARY KEY (tenant)
);
alter table tenant_settings enable row level security;
alter table tenant_settings force row level security;
create policy own_tenant on tenant_settings for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on tenant_settings to tenure_app;
grant select on tenant_settings to tenure_what_if;

create table timeline_entry (
    tenant uuid not null,
    employee uuid not null,
    "position" bigint not null,
    kind text not null,
    stream_id uuid not null,
    event_id uuid not null,
    event_type text not null,
    schema_version smallint not null,
    effective_on date not null,
    recorded_at timestamp with time zone not null,
    actor text not null,
    data bytea not null,
    constraint timeline_entry_pkey PRIMARY KEY (tenant, employee, "position")
);
alter table timeline_entry enable row level security;
alter table timeline_entry force row level security;
create policy own_tenant on timeline_entry for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on timeline_entry to tenure_app;
grant select on timeline_entry to tenure_what_if;

create table fairness.attributes (
    tenant uuid not null,
    employee uuid not null,
    sealed bytea not null,
    "position" bigint not null,
    constraint attributes_pkey PRIMARY KEY (tenant, employee)
);
alter table fairness.attributes enable row level security;
alter table fairness.attributes force row level security;
create policy own_tenant on fairness.attributes for all to public using ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[]))) with check ((tenant = ANY (( SELECT app_tenants() AS app_tenants)::uuid[])));
grant delete, insert, select, update on fairness.attributes to tenure_fairness;
