-- Which log this is: what is relayed says so, and whoever reads it knows the records of another one, which a Kafka may hold that
-- had another database before.
alter table log_head add column id uuid not null default gen_random_uuid();
