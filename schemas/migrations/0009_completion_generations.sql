-- A generation is never used twice, also after its row has gone: a reading's command is named by it, and two readings with one
-- name would count as one. It begins past whatever the rows have counted to.
create sequence completion_generation start with 1000000;
alter table completion alter column generation set default nextval('completion_generation');
grant usage on sequence completion_generation to tenure_app;
