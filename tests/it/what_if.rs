//! `tenure what-if` on a running installation.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    faults::{settled, sql},
    harness::{DataDir, Tenure, Vendor, today, told, tool},
    verify::verify,
};

/// What `tenure what-if` tells; what it complains of otherwise.
fn what_if(data_dir: &Path, arguments: &[&str]) -> Result<String, String> {
    told(tool(data_dir, &[&["what-if"], arguments].concat()).current_dir(data_dir))
}

/// Runs a script, and tells what is other.
fn run(data_dir: &Path, name: &str, script: &str) -> Result<Value, String> {
    run_as(data_dir, name, script, &["--format", "json"]).map(|text| serde_json::from_str(&text).expect("JSON"))
}

fn run_as(data_dir: &Path, name: &str, script: &str, options: &[&str]) -> Result<String, String> {
    let file = format!("{name}.yaml");
    std::fs::write(data_dir.join(&file), script).expect("a script");
    let arguments = ["run", &file, "--purpose", "a test"];
    what_if(data_dir, &[&arguments, options].concat())
}

/// The schemas of sandboxes that are there.
fn schemas(data_dir: &Path) -> String {
    sql(
        data_dir,
        "select count(*) from pg_namespace where nspname like 'what\\_if\\_%'",
    )
}

/// A checksum of everything that people see, and of the log.
fn live(data_dir: &Path) -> String {
    let tables = [
        "employee",
        "employee_version",
        "department_stats",
        "team_stats",
        "timeline_entry",
        "risk",
        "risk_history",
        "readiness",
        "readiness_history",
        "pay_change",
        "pay_change_task",
        "tenant_settings",
        "feature_state",
        "parked",
        "completion",
        "connection_task",
        "source_quality",
        "source_told",
    ];
    let sums = tables
        .map(|table| format!("select '{table}', count(*), sum(hashtextextended(t::text, 0)::numeric) from {table} t"));
    // Who asked is an event; it is in no other table.
    let log = "select 'log', count(*), sum(hashtextextended(t::text, 0)::numeric) from event t where kind <> 'access'";
    sql(data_dir, &format!("{} union all {log}", sums.join(" union all ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_changed_beside_the_one_that_happened() {
    let data = DataDir::new();
    let vendor = Vendor::start(21, 250).await;
    let tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    let before = live(&data.0);

    // What changes nothing comes out the same: without any change, and with one that makes the whole company be scored again.
    let nothing = run(&data.0, "nothing", "title: Nothing\nfrom: 2025-01-01\n").expect("run");
    assert_eq!(nothing["rows"], json!({}), "{nothing:#}");
    let scored = sql(&data.0, "select count(*) from risk")
        .parse::<i64>()
        .expect("a number");
    assert!(scored > 100, "{scored}");
    assert_eq!(nothing["total"]["what_if"]["scored"], json!(scored));
    let same = "title: The thresholds that there are\nfrom: 2025-01-01\nchanges:\n  - bands: {high-above: 0.2}\n";
    let same = run(&data.0, "same", same).expect("run");
    assert_eq!(same["events"]["inserted"], json!(1));
    assert_eq!(same["rows"], json!({}), "{same:#}");

    // Thresholds: more people are at high risk, each of whom is an alert, and probabilities stay.
    let script = "title: Who is called a high risk?\nfrom: 2025-01-01\nchanges:\n  - bands: {medium-above: 0.04, high-above: 0.08}\n";
    let bands = run(&data.0, "bands", script).expect("run");
    let (happened, what_if_) = (&bands["total"]["happened"], &bands["total"]["what_if"]);
    let expected = sql(&data.0, "select count(*) from risk where probability > 0.08");
    assert_ne!(
        expected,
        sql(&data.0, "select count(*) from risk where probability > 0.2")
    );
    assert_eq!(what_if_["high"].to_string(), expected, "{bands:#}");
    assert!(what_if_["alerts"].as_i64() > happened["alerts"].as_i64(), "{bands:#}");
    assert_eq!(happened["expected"], what_if_["expected"]);

    // The model that is in use anyway, named by its version: the setting says so now, and nobody's score is another one.
    let version = sql(&data.0, "select distinct model from risk");
    let script =
        format!("title: The model that there is\nfrom: 2025-01-01\nchanges:\n  - model: {{version: {version}}}\n");
    let model = run(&data.0, "model", &script).expect("run");
    assert_eq!(model["rows"], json!({"tenant_settings": 2}), "{model:#}");

    // Pay: only scores and the timeline differ; the same script again gives the same.
    let lately = sql(&data.0, "select current_date - 30");
    let raise = format!(
        "title: Raise the underpaid\nfrom: {lately}\nchanges:\n  - raise: {{who: {{compa-ratio-below: 0.95}}, on: {lately}, percent: 20}}\n"
    );
    let first = run(&data.0, "raise", &raise).expect("run");
    let raised = first["events"]["people"].as_i64().expect("a number");
    assert!(raised > 5, "{first:#}");
    assert!(first["scores_differing"].as_i64() > Some(0), "{first:#}");
    assert_eq!(
        first["total"]["happened"]["headcount"],
        first["total"]["what_if"]["headcount"]
    );
    for table in ["employee", "employee_version", "department_stats", "tenant_settings"] {
        assert!(first["rows"].get(table).is_none(), "{table}: {first:#}");
    }
    let again = run(&data.0, "again", &raise).expect("run");
    assert!(again == first, "the same bytes: {} {}", first["total"], again["total"]);

    // Somebody who led others and left stays: they are employed, and nobody hears of an exit.
    let leader = sql(
        &data.0,
        "select m.id from employee m where m.status = 'LEFT' and m.left_on >= '2024-01-01'
            and exists (select from timeline_entry t join team_told k on k.teammate = t.employee and k.colleague = m.id
                         where t.event_type = 'employee.colleague-left')
          order by 1 limit 1",
    );
    assert!(!leader.is_empty(), "nobody who left was missed by colleagues");
    let employed = format!("select greatest(date '2024-01-01', hired_on + 1) from employee where id = '{leader}'");
    let employed = sql(&data.0, &employed);
    let script =
        format!("title: One stays\nfrom: {employed}\nchanges:\n  - stay: {{who: {{employees: [{leader}]}}}}\n");
    let stays = run(&data.0, "stays", &script).expect("run");
    let (happened, what_if_) = (&stays["total"]["happened"], &stays["total"]["what_if"]);
    let number = |value: &Value, of: &str| value[of].as_i64().expect("a number");
    assert_eq!(number(what_if_, "headcount"), number(happened, "headcount") + 1);
    assert_eq!(number(what_if_, "left"), number(happened, "left") - 1);
    assert!(
        number(&stays["events"], "people") > 1,
        "colleagues hear nothing: {stays:#}"
    );
    let schema = sql(&data.0, "select schema_name from sandbox where name = 'stays'");
    let heard = |schema: &str| {
        sql(
            &data.0,
            &format!(
                "select count(*) from {schema}.timeline_entry where event_type = 'employee.colleague-left'
                    and convert_from(data, 'UTF8') like '%{leader}%'"
            ),
        )
    };
    assert_ne!(heard("public"), "0");
    assert_eq!(heard(&schema), "0");
    assert_eq!(
        sql(
            &data.0,
            &format!("select status from {schema}.employee where id = '{leader}'")
        ),
        "ACTIVE"
    );

    // Others leave, have another manager, were paid otherwise, were never promoted.
    let staff = sql(
        &data.0,
        "select e.id from employee e where e.status = 'ACTIVE' and e.hired_on < '2024-06-01' and e.manager is not null
            and not exists (select from timeline_entry t where t.employee = e.id and t.event_type = 'employee.manager-changed'
                             and t.effective_on >= '2025-01-01')
          order by 1 limit 2",
    );
    let (one, other) = staff.split_once('\n').expect("two people");
    let script = format!(
        "title: All kinds\nfrom: 2025-01-01\nchanges:
  - leave: {{who: {{employees: [{one}]}}, on: 2025-06-01}}
  - insert:
      who: {{employees: [{other}]}}
      type: employee.manager-changed
      data: {{from: null, to: null, on: 2025-06-01}}
  - insert:
      who: {{employees: [{other}]}}
      type: employee.review-recorded
      data: {{on: 2025-06-01, rating: 5}}
  - edit:
      who: {{employees: [{other}]}}
      type: employee.review-recorded
      set: {{rating: 1}}
  - drop:
      who: {{everybody: true}}
      type: employee.pay-changed
"
    );
    let all = run(&data.0, "all", &script).expect("run");
    assert!(
        number(&all["events"], "dropped") > 0 && number(&all["events"], "inserted") > 2,
        "{all:#}"
    );
    assert_eq!(
        number(&all["total"]["what_if"], "headcount"),
        number(&all["total"]["happened"], "headcount") - 1
    );
    let schema = sql(&data.0, "select schema_name from sandbox where name = 'all'");
    let of = |what: &str, id: &str| {
        sql(
            &data.0,
            &format!("select coalesce({what}::text, 'none') from {schema}.employee where id = '{id}'"),
        )
    };
    assert_eq!(
        (of("left_on", one), of("manager", other)),
        ("2025-06-01".to_owned(), "none".to_owned())
    );

    // As a table, and as data of charts.
    let table = what_if(&data.0, &["diff", "bands"]).expect("told again");
    assert!(table.contains("everybody") && table.contains("high risk"), "{table}");
    let chart = what_if(&data.0, &["diff", "bands", "--format", "csv"]).expect("told again");
    assert!(chart.starts_with("measure,by,group,day,happened,what_if\n"), "{chart}");
    assert!(chart.contains("\nheadcount_over_time,everybody,everybody,"), "{chart}");
    let nothing = what_if(&data.0, &["diff", "nothing"]).expect("told again");
    assert!(nothing.contains("nothing differs"), "{nothing}");

    // None of it reached what people see.
    settled(&tenure).await;
    assert_eq!(live(&data.0), before);
    verify(&data.0).expect("as before");

    // Whoever is erased is erased there too.
    let path = format!("/v1/employees/{one}/erase");
    let (status, answer) = tenure
        .post(
            &path,
            "admin",
            &[("idempotency-key", "gone")],
            json!({"on": today(), "basis": "a test"}),
        )
        .await;
    assert_eq!(status, 200, "{answer:#}");
    settled(&tenure).await;
    for table in ["employee", "employee_version", "timeline_entry", "risk", "risk_history"] {
        let column = if table == "employee" { "id" } else { "employee" };
        let left = sql(
            &data.0,
            &format!("select count(*) from {schema}.{table} where {column} = '{one}'"),
        );
        assert_eq!(left, "0", "{table}");
    }
    bad_input(&data.0, one);
}

fn bad_input(data: &Path, somebody: &str) {
    let there = schemas(data);
    for (script, says) in [
        ("title: x\nfrom: 2025-01-01\nchanges:\n  - rise: {}\n", "line 4"),
        (
            "title: x\nfrom: 2025-01-01\nchanges:\n  - stay: {who: {department: Nowhere}}\n",
            "line 4, column 17 of the script: nobody",
        ),
        (
            "title: x\nfrom: 2025-01-01\nchanges:\n  - stay: {who: {employees: [00000000-0000-0000-0000-000000000000]}}\n",
            "nobody has the id",
        ),
        (
            "title: x\nfrom: 2025-01-01\nchanges:\n  - model: {version: none-such}\n",
            "line 4, column 22 of the script: the model none-such is not in the registry; there are",
        ),
        (
            "title: x\nfrom: 2025-01-01\nchanges:\n  - bands: {medium-above: 0.5}\n",
            "thresholds must rise",
        ),
        (
            "title: x\nfrom: 2025-01-01\nchanges:\n  - insert: {who: {everybody: true}, type: employee.review-recorded, data: {on: 2025-06-01, rating: many}}\n",
            "line 4",
        ),
        ("title: x\nfrom: 2999-01-01\n", "has not come yet"),
    ] {
        let error = run(data, "bad", script).expect_err(script);
        assert!(error.contains(says), "{script}: {error}");
    }
    let nothing = "title: x\nfrom: 2025-01-01\n";
    let error = run_as(data, "small", nothing, &["--events-max", "10"]).expect_err("too small");
    assert!(
        error.contains("more than 10 events") && error.contains("--events-max"),
        "{error}"
    );
    let error = run(data, "raise", nothing).expect_err("taken");
    assert!(error.contains("there is a sandbox raise already"), "{error}");
    let error = run_as(data, "named", nothing, &["--name", "No Name"]).expect_err("no name");
    assert!(error.contains("small letters"), "{error}");
    let error = what_if(data, &["diff", "none"]).expect_err("none");
    assert!(error.contains("there is no sandbox none"), "{error}");
    assert_eq!(schemas(data), there, "nothing half-made");

    // As many as there may be.
    let mut count: usize = there.parse().expect("a number");
    while count < 10 {
        run(data, &format!("more-{count}"), nothing).expect("run");
        count += 1;
    }
    let error = run(data, "too-many", nothing).expect_err("too many");
    assert!(error.contains("drop one first"), "{error}");
    let listed = what_if(data, &["list"]).expect("listed");
    assert_eq!(listed.lines().count(), 10, "{listed}");
    assert!(!listed.contains(somebody), "no ids");
    for line in listed.lines() {
        let name = line.split_whitespace().next().expect("a name");
        what_if(data, &["drop", name]).expect("dropped");
    }
    assert_eq!(schemas(data), "0");
    let replay = ["replay", "--into", "sandbox:again"];
    let refused = told(tool(data, &replay).current_dir(data)).expect_err("no purpose");
    assert!(refused.contains("--purpose"), "{refused}");
    let replayed = [&replay[..], &["--purpose", "to see that it is the same"]].concat();
    let replayed = told(tool(data, &replayed).current_dir(data)).map(drop);
    replayed.expect("the whole history, unchanged, equals what people see");
    assert_eq!(schemas(data), "1");
    let error = told(&mut tool(
        data,
        &["replay", "--into", "sandbox:half", "--to", "2026-01-01"],
    ))
    .expect_err("half");
    assert!(error.contains("whole history"), "{error}");
}
