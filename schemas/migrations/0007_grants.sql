-- The application owns nothing and can do only what its parts do. Roles are made before migrations run (infra::database).
grant usage on schema public to tenure_app, tenure_relay;

grant select, insert on event, event_id to tenure_app;
grant select, insert, update on stream to tenure_app;
grant select, update on log_head to tenure_app;
grant execute on function tenure_prepare_log(bigint) to tenure_app;
revoke execute on function tenure_prepare_log(bigint) from public;

grant select, insert on tenant_key, tenant_directory to tenure_app;
grant select, insert, delete on subject_key to tenure_app;

grant select, insert on command_outcome, connection_route to tenure_app;
grant select, insert, update on consumer_checkpoint to tenure_app;
grant select, insert, update, delete on completion, outbox, parked to tenure_app;
grant select on relay_checkpoint to tenure_app;

grant select, insert, update, delete on employee, employee_version, department_stats, team_stats, timeline_entry, risk,
    risk_history, feature_state, tenant_settings, connection to tenure_app;
grant select, insert on model_version to tenure_app;

-- The relay is the one part that sees all tenants: it reads sealed events, in order, and nothing else.
grant select on event, log_head to tenure_relay;
grant select, update on relay_checkpoint to tenure_relay;
create policy relay_reads_all on event for select to tenure_relay using (true);
