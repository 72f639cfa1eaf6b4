-- The digest of a model's inputs beside the score: the same inputs, model and day give the same score.
alter table risk add column vector text;
