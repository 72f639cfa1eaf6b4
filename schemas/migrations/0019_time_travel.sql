-- Any past day, as it was or as it was known: the columns of `employee` and `risk`, of any day and any state of knowledge.

-- Notices and objections have their days like everything else that decides where somebody stands.
alter table employee_version
    add column notice_on date,
    -- The last day that the notice names.
    add column last_day date,
    -- Who wants the leaving that the notice or the end is about.
    add column voluntariness text,
    add column objects_to_scoring boolean not null default false;

-- What was news, and when it became known: an assessment is recorded a moment after the score was made.
alter table risk_history
    add column recorded_at timestamptz not null default 'epoch',
    -- The digest of the model's inputs.
    add column vector text;
alter table risk_history alter column recorded_at drop default;

-- Everybody as they were on `on_day`, as recorded by `known`. People are listed from the moment on which their first day was known
-- (hired for a later day: PREHIRE, with what they will be), which for a past day is the end of that day at the latest: nobody was
-- a coming colleague in years of which we only heard afterwards. Names are today's, and contacts are not told: neither has
-- versions, so that an erasure has one place to clear.
-- Inlined into the queries that use it, so that their conditions and orders reach the indexes.
create function employee_at(on_day date, known timestamptz)
    returns table (
        tenant uuid, id uuid, connection uuid, remote_id text, display_name text, work_email text, work_phone text, mobile_phone text,
        job_title text, department text, division text, location text, manager uuid, status text, hired_on date, left_on date,
        notice_on date, last_day date, weekly_minutes integer, objects_to_scoring boolean, next_change_on date, "position" bigint)
    language sql stable parallel safe as $$
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
$$;

-- The score of a person on `on_day`, as recorded by `known`: the last one that was news by then.
create function risk_at(of_tenant uuid, of_employee uuid, on_day date, known timestamptz)
    returns table (
        tenant uuid, employee uuid, probability double precision, horizon_days smallint, band text, factors json, model text,
        scored_at timestamptz, "position" bigint, vector text, assessed_at bigint)
    language sql stable parallel safe as $$
    select h.tenant, h.employee, h.probability, h.horizon_days, h.band, h.factors, h.model, h.scored_at, h.scored_position, h.vector, h.position
      from risk_history h
     where h.tenant = of_tenant and h.employee = of_employee and h.recorded_at <= known
       and h.scored_at < (on_day + 1)::timestamp at time zone 'UTC' and h.probability is not null
     order by h.position desc limit 1
$$;

-- Somebody's team of any time; everybody's last score, and the highest ones first, without reading rows.
create index employee_version_by_manager on employee_version (tenant, manager, employee);
create index risk_history_last on risk_history (tenant, employee, position desc) include (recorded_at, scored_at, probability, band);
create index risk_history_by_probability on risk_history (tenant, probability desc, employee) include (recorded_at, scored_at, position);

-- What is there was made without these columns: it is made again from the log's stream of events, from the first one on.
truncate employee, employee_version, department_stats, team_stats, timeline_entry, risk_history, readiness_history;
update consumer_checkpoint set next_offset = 0, position = 0, epoch = epoch + 1
 where consumer = 'read-models' and topic = 'tenure.events';
