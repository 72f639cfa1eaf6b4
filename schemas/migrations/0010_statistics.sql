-- The planner knows nothing of a table until it is analysed, which a server does about a minute after the first rows: until then
-- it looks for one person by reading all of the tenant, and keeps plans like that. Who fills tables asks for it when they have grown.
-- Runs as the owner, because the application may not; it takes nothing from its caller.
create function tenure_refresh_statistics() returns void
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    -- A rough idea will do: 3,000 rows of each table.
    set local default_statistics_target = 10;
    analyze stream, event_id, command_outcome, employee, employee_version, department_stats, team_stats, timeline_entry,
            risk, risk_history, feature_state;
end $$;
revoke all on function tenure_refresh_statistics() from public;
grant execute on function tenure_refresh_statistics() to tenure_app;
