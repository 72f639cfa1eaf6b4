-- The models of career programs have challengers too. One model may run beside the models of several programs.
alter table program add column challenger text;

alter table shadow_score
    -- Null: the flight risk.
    add column program uuid,
    drop constraint shadow_score_pkey,
    add constraint shadow_score_once unique nulls not distinct (tenant, employee, challenger, program, month);
