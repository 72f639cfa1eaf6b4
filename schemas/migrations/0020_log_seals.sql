-- Seals on the log: a hash over all events up to a position, each over the one before, and a code that only who has the master key
-- can make. Written by the relay with its checkpoint, never changed. Heads are kept in a file outside the database as well.
create table log_seal (
    position  bigint      not null primary key,
    -- The position of the seal before; 0 for the first.
    after     bigint      not null unique,
    -- SHA-256 (infra::seal).
    hash      bytea       not null,
    -- HMAC-SHA-256 of both positions and the hash.
    code      bytea       not null,
    sealed_at timestamptz not null default now(),
    check (position > after)
);
create trigger log_seal_is_append_only before update or delete on log_seal
    for each row execute function refuse_change();
create trigger log_seal_is_not_truncated before truncate on log_seal
    for each statement execute function refuse_change();
grant select, insert on log_seal to tenure_relay;
