-- What the registry says of a model without its artifact being read, and what became of its predictions.
alter table model_version add column card json;

create table model_report (
    tenant  uuid        not null,
    model   text        not null,
    made_at timestamptz not null,
    report  json        not null,
    primary key (tenant, model)
);
call tenure_isolate('model_report');

grant select, insert, update on model_report to tenure_app;
