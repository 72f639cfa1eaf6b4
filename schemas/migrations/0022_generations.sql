-- `tenure rebuild` keeps the tables that it replaced, to go back to. Nobody's rows are to outlive an erasure there: with the first one
-- that is projected, what is kept goes. Runs as the owner, because the application may not remove tables; it takes nothing from its
-- caller. A generation that a killed rebuild left half-made goes as well; one that is at work takes the erasure in by itself.
create function tenure_forget_kept_generation() returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform pg_advisory_xact_lock(7468); -- two partitions may erase at once
    if to_regnamespace('read_models_kept') is not null then
        drop schema read_models_kept cascade;
    end if;
    if to_regnamespace('read_models_building') is not null and pg_try_advisory_xact_lock(7467) then
        drop schema read_models_building cascade;
    end if;
end $$;
revoke all on function tenure_forget_kept_generation() from public;
grant execute on function tenure_forget_kept_generation() to tenure_app;
