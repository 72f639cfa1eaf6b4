-- Old partitions of the log, moved into files (infra::log_archive).

-- The last event that is in a file and no longer in the table. A sequence, because whoever reads in a transaction that sees
-- everything as it was has to learn of it at once: a partition that is gone is gone for all.
create sequence log_archived minvalue 0 start 0;
create table log_archive (
    first       bigint      not null primary key,
    last        bigint      not null unique,
    -- Absolute: every process of the installation opens it there.
    path        text        not null,
    archived_at timestamptz not null default now(),
    check (last >= first)
);

-- Which of a stream's events are in a file, so that it is read without the rest.
create table archived_stream (
    tenant    uuid     not null,
    kind      text     not null,
    stream_id uuid     not null,
    -- `first` of the file.
    archive   bigint   not null,
    -- The revision of the first of them; they follow one another.
    revision  bigint   not null,
    positions bigint[] not null,
    primary key (tenant, kind, stream_id, archive)
);
call tenure_isolate('archived_stream');

grant select on log_archived, log_archive to tenure_app, tenure_relay, tenure_what_if;
grant select on archived_stream to tenure_app, tenure_what_if;
