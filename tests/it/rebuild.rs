//! `tenure rebuild` beside a running installation.

use std::{path::Path, process::Command};

use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    faults::{random, seed, settled, sql},
    harness::{DataDir, Tenure, Vendor, today, told, tool},
    verify::verify,
};
use rand::Rng as _;

/// The tables of the read models.
const TABLES: &str = "('employee', 'employee_version', 'department_stats', 'team_stats', 'timeline_entry', 'risk_history', 'readiness_history', 'program', 'pay_change', 'tenant_settings', 'connection')";

fn command(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = tool(data_dir, &[&["rebuild"], arguments].concat());
    command.env("KAFKA_BROKERS", "127.0.0.1:1"); // rows need no Kafka
    command
}

/// A rebuild that dies at a fail point.
fn killed(data_dir: &Path, arguments: &[&str], fail_point: &str) {
    let dies = command(data_dir, arguments)
        .env("TENURE_CRASH_ON_FAILPOINT", "1")
        .env("FAILPOINTS", format!("{fail_point}=panic"))
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&dies.stderr);
    let panicked = format!("failpoint {fail_point} panic");
    assert!(!dies.status.success() && said.contains(&panicked), "{said}");
}

/// What `tenure rebuild` tells; what it complains of otherwise.
fn rebuild(data_dir: &Path, arguments: &[&str]) -> Result<String, String> {
    told(&mut command(data_dir, arguments))
}

/// What comes out when the read models are made again beside the live ones; nothing is put in place.
pub fn compare(data_dir: &Path) -> Result<String, String> {
    rebuild(data_dir, &["--compare"])
}

/// Everything about the tables but their rows: columns, constraints, indexes, rights, isolation.
fn described(data_dir: &Path) -> String {
    sql(
        data_dir,
        &format!(
            "select string_agg(line, e'\\n' order by line) from (
                select 'index ' || indexdef as line from pg_indexes where schemaname = 'public' and tablename in {TABLES}
                union all select 'constraint ' || c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
                  from pg_constraint c join pg_class t on t.oid = c.conrelid where t.relnamespace = 'public'::regnamespace and t.relname in {TABLES}
                union all select 'policy ' || tablename || policyname || roles::text || cmd || qual || with_check from pg_policies where schemaname = 'public' and tablename in {TABLES}
                union all select 'table ' || relname || relowner::regrole || relrowsecurity || relforcerowsecurity || coalesce(reloptions::text, '')
                  from pg_class where relnamespace = 'public'::regnamespace and relname in {TABLES}
                union all select 'right ' || c.relname || a.grantee::regrole || a.privilege_type from pg_class c cross join lateral aclexplode(c.relacl) a
                  where c.relnamespace = 'public'::regnamespace and c.relname in {TABLES}
                union all select 'column ' || table_name || ordinal_position || column_name || data_type || is_nullable || coalesce(column_default, '')
                  from information_schema.columns where table_schema = 'public' and table_name in {TABLES}) l"
        ),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_are_made_again_beside_the_live_ones() {
    let data = DataDir::new();
    let vendor = Vendor::start(13, 40).await;
    let tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    let before = described(&data.0);
    assert!(before.lines().count() > 150, "{before}");

    // Nothing is wrong: all is the same, and stays so.
    let told = rebuild(&data.0, &["--back"]).expect_err("nothing is kept yet");
    assert!(told.contains("no generation is kept"), "{told}");
    let told = rebuild(&data.0, &[]).expect("rebuilt");
    assert!(told.contains("rows, the same") && !told.contains("differ"), "{told}");
    assert!(told.contains("the new generation is live"), "{told}");
    assert_eq!(described(&data.0), before);
    verify(&data.0).expect("as before");

    // Somebody breaks the rows of two people. A comparison tells, and leaves them; a rebuild mends them; and there is a way back.
    let damage = "update employee set job_title = 'Fool' where id = (select min(id::text)::uuid from employee);
         delete from timeline_entry where position = (select min(position) from timeline_entry where employee <> (select min(id::text)::uuid from employee))";
    sql(&data.0, damage);
    let told = rebuild(&data.0, &["--compare"]).expect("compared");
    let rows = sql(&data.0, "select count(*) from employee");
    let expected = format!("employee: {rows} rows before, {rows} rows now, which differ");
    assert!(told.contains(&expected) && told.contains("only now: "), "{told}");
    let fools = || sql(&data.0, "select count(*) from employee where job_title = 'Fool'");
    assert_eq!(fools(), "1");
    verify(&data.0).expect_err("still broken");
    let told = rebuild(&data.0, &[]).expect("rebuilt");
    assert!(told.contains("differ"), "{told}");
    assert_eq!(fools(), "0");
    verify(&data.0).expect("mended");
    let notes = || {
        sql(
            &data.0,
            "select count(*) from timeline_entry where event_type = 'employee.note-written'",
        )
    };
    let somebody = sql(&data.0, "select max(id::text) from employee");
    let note = json!({"on": today(), "text": "written between two generations"});
    let path = format!("/v1/employees/{somebody}/write-note");
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "between")], note)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    settled(&tenure).await;
    rebuild(&data.0, &["--back"]).expect("back");
    assert_eq!(
        (fools(), notes()),
        ("1".to_owned(), "1".to_owned()),
        "the old rows, and what came since"
    );
    rebuild(&data.0, &["--back"]).expect("forth");
    assert_eq!((fools(), notes()), ("0".to_owned(), "1".to_owned()));
    verify(&data.0).expect("mended");

    // One employee's rows, or one tenant's, in place.
    let tenant = sql(&data.0, "select tenant from tenant_directory");
    sql(&data.0, damage);
    let fool = sql(&data.0, "select id from employee where job_title = 'Fool'");
    rebuild(&data.0, &["--tenant", &tenant, "--employee", &fool]).expect("one employee");
    assert_eq!(fools(), "0");
    let other = verify(&data.0).expect_err("the deleted entry is another's");
    assert!(other.contains("timeline_entry"), "{other}");
    sql(&data.0, "update department_stats set headcount = headcount + 1");
    rebuild(&data.0, &["--tenant", &tenant]).expect("one tenant");
    let nobody = infra::clock::new_id().to_string();
    rebuild(&data.0, &["--tenant", &tenant, "--employee", &nobody]).expect_err("nobody");
    verify(&data.0).expect("mended");

    // A way back that was killed is no half-made generation: a rebuild does not take it for one, and the way stays.
    sql(&data.0, damage);
    rebuild(&data.0, &[]).expect("rebuilt");
    killed(&data.0, &["--back"], "before-flip");
    let told = rebuild(&data.0, &["--compare"]).expect("compared");
    assert!(!told.contains("went on") && !told.contains("differ"), "{told}");
    rebuild(&data.0, &["--back"]).expect("back");
    assert_eq!(fools(), "1");
    rebuild(&data.0, &[]).expect("rebuilt");
    verify(&data.0).expect("mended");

    // What is parked and reads is done with a rebuild; what waits behind unreadable events is not gone back to.
    sql(
        &data.0,
        "insert into parked (id, tenant, consumer, kind, stream_id, topic, \"partition\", \"offset\", position, cause, headers, value, parked_at)
         select gen_random_uuid(), tenant, 'read-models', kind, stream_id, 'tenure.events', 0, 0, position, 'a test', '{}', '', now()
           from event where event_type = 'employee.note-written' limit 1",
    );
    let told = rebuild(&data.0, &[]).expect("rebuilt");
    assert!(told.contains("1 events that were parked went through"), "{told}");
    let told = rebuild(&data.0, &["--back"]).expect_err("incomplete");
    assert!(told.contains("waits for events"), "{told}");

    // Whoever is erased is not kept either, nor what a killed rebuild left of them.
    killed(&data.0, &[], "before-flip");
    assert_eq!(
        sql(&data.0, "select to_regnamespace('read_models_building') is not null"),
        "t"
    );
    let erase = json!({"on": today(), "basis": "asked for"});
    let path = format!("/v1/employees/{somebody}/erase");
    let (status, answer) = tenure
        .post(&path, "admin", &[("idempotency-key", "erase")], erase)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    settled(&tenure).await;
    assert_eq!(
        sql(&data.0, "select to_regnamespace('read_models_building') is null"),
        "t"
    );
    let told = rebuild(&data.0, &["--back"]).expect_err("nothing is kept");
    assert!(told.contains("somebody was erased"), "{told}");
    rebuild(&data.0, &[]).expect("rebuilt");
    assert_eq!(
        rebuild(&data.0, &["--forget"]).expect("forgotten").trim(),
        "the kept generation is gone"
    );
    verify(&data.0).expect("the end");
}

/// While people write and read, generations change places; some rebuilds are killed half-way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_under_load_loses_and_doubles_nothing() {
    const ROUNDS: usize = 4;
    let data = DataDir::new();
    let vendor = Vendor::start(14, 30).await;
    let tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    let people: Vec<String> = sql(&data.0, "select id from employee order by id")
        .lines()
        .map(str::to_owned)
        .collect();
    let heads = sql(&data.0, "select sum(headcount) from department_stats");

    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let mut random = random(seed("rebuild"), 0);
    let tenure = std::sync::Arc::new(tenure);
    let writer = tracker.spawn({
        let (tenure, stop, people) = (std::sync::Arc::clone(&tenure), stop.clone(), people.clone());
        let order: Vec<usize> = (0..10_000).map(|_| random.random_range(0..people.len())).collect();
        async move {
            let mut written = 0;
            for (number, who) in order.into_iter().enumerate() {
                if stop.is_cancelled() {
                    break;
                }
                let path = format!("/v1/employees/{}/write-note", people[who]);
                let note = json!({"on": today(), "text": format!("note {number}")});
                let key = format!("note-{number}");
                let (status, answer) = tenure
                    .post(&path, "hr_manager", &[("idempotency-key", &key)], note)
                    .await;
                assert!(status == 200 || status == 202, "{answer:#}");
                written += 1;
            }
            written
        }
    });
    let reader = tracker.spawn({
        let (tenure, stop, count, heads) = (std::sync::Arc::clone(&tenure), stop.clone(), people.len(), heads.clone());
        async move {
            let mut read = 0;
            while !stop.is_cancelled() {
                let query = "{ employees(first: 100) { nodes { id timeline(first: 1) { nodes { position } } } } departments { headcount } }";
                let answer = tenure.ask("admin", query, &[]).await;
                // A busy machine may have no connection free in time, and says so: what is answered is never a mix.
                if answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE" {
                    continue;
                }
                assert!(answer.get("errors").is_none(), "{answer:#}");
                let answer = &answer["data"];
                let nodes = answer["employees"]["nodes"].as_array().expect("people");
                assert_eq!(nodes.len(), count, "everybody, in every generation");
                assert!(nodes.iter().all(|node| node["timeline"]["nodes"][0]["position"].is_number()));
                let departments = answer["departments"].as_array().expect("departments");
                let sum: i64 = departments.iter().filter_map(|one| one["headcount"].as_i64()).sum();
                assert_eq!(sum.to_string(), heads, "heads are counted once, in every generation");
                read += 1;
            }
            read
        }
    });
    for round in 0..ROUNDS {
        // Killed after its rows were written, or its indexes made, before anything changed places: the next one goes on there.
        let fail_point = ["mid-rebuild", "indexes-made"][round % 2];
        tokio::task::block_in_place(|| killed(&data.0, &[], fail_point));
        let told = tokio::task::block_in_place(|| rebuild(&data.0, &[])).expect("rebuilt");
        assert!(told.contains("went on where"), "{told}");
        assert!(
            told.contains("the new generation is live") && !told.contains("differ"),
            "{told}"
        );
    }
    stop.cancel();
    tracker.close();
    let (written, read): (i64, usize) = (writer.await.expect("written"), reader.await.expect("read"));
    settled(&tenure).await;
    assert!(read > 0, "nobody could read");
    let notes =
        "select count(*), count(distinct position) from timeline_entry where event_type = 'employee.note-written'";
    assert_eq!(sql(&data.0, notes), format!("{written}|{written}"));
    verify(&data.0).expect("the read models are what the log says");
    eprintln!("rebuild: {written} notes written and {read} pages read during {ROUNDS} rebuilds");
}
