-- A partition is a table of its own: neither its parent's policies nor the trigger that refuses to truncate reach whoever
-- names it directly.
create procedure tenure_guard_partition(partition regclass)
    language plpgsql as $$
begin
    call tenure_isolate(partition);
    execute format('create trigger event_is_not_truncated before truncate on %s '
                   'for each statement execute function refuse_change()', partition);
end $$;

create or replace function tenure_prepare_log(head bigint) returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
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
end $$;

do $$
declare
    partition regclass;
begin
    for partition in select inhrelid::regclass from pg_inherits where inhparent = 'event'::regclass loop
        call tenure_guard_partition(partition);
    end loop;
end $$;
