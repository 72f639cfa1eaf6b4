-- Room in each page for a row's next version: an update that changes no indexed column then touches no index (a HOT update).
alter table stream set (fillfactor = 70);
alter table employee set (fillfactor = 70);
alter table risk set (fillfactor = 70);
alter table feature_state set (fillfactor = 70);
alter table department_stats set (fillfactor = 50);
alter table team_stats set (fillfactor = 50);
