//! `tenure verify` on a running installation: it finds what somebody with the database's password changed.

use std::path::Path;

use domain::id::TenantId;
use projection_workers::proof;
use rand::seq::IndexedRandom;

use crate::{
    faults::{random, seed, settled, signal, sql},
    harness::{DataDir, Tenure, Vendor, parts, told, tool},
};

/// How many rows are changed.
const PLACES: usize = 100;

/// What `tenure verify` prints; the error if it finds something.
pub fn verify(data_dir: &Path) -> Result<String, String> {
    // Proving needs no Kafka.
    told(tool(data_dir, &["verify", "--scores", "1000"]).env("KAFKA_BROKERS", "127.0.0.1:1"))
}

/// As the database's superuser, past the triggers that refuse changes.
fn tamper(data_dir: &Path, statements: &str) {
    sql(
        data_dir,
        &format!("set session_replication_role = replica; begin; {statements}; commit"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_behind_the_products_back_is_found() {
    let data = DataDir::new();
    let vendor = Vendor::start(11, 25).await;
    let mut tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    // At its end the relay writes the head of the log down.
    assert!(signal(tenure.process.id(), "TERM"));
    tenure.process.wait().expect("ended");
    tenure = Tenure::start(&data.0);
    settled(&tenure).await;

    let proof = verify(&data.0).expect("an untouched installation");
    assert!(
        proof.contains("outside the database") && proof.contains("verified"),
        "{proof}"
    );
    let mut random = random(seed("verify"), 0);
    let head: i64 = sql(&data.0, "select position from log_head").parse().expect("a number");
    // Where the next event is another one, or swapping both would change nothing.
    let places = sql(
        &data.0,
        "select string_agg(e.position::text, ' ') from event e join event n on n.position = e.position + 1 where e.position > 1 and n.data <> e.data",
    );
    let places: Vec<i64> = places
        .split(' ')
        .map(|place| place.parse().expect("a number"))
        .collect();
    let place = *places.choose(&mut random).expect("events");

    // In the log.
    let flip = |by: i64| {
        format!(
            "update event set data = set_byte(data, length(data) - 2, (get_byte(data, length(data) - 2) + {by}) % 256) where position = {place}"
        )
    };
    let swap = format!(
        "update event e set data = o.data from event o where e.position in ({place}, {place} + 1) and o.position = 2 * {place} + 1 - e.position"
    );
    let kept = "drop table if exists kept; create table kept as select * from event";
    let renumber = format!(
        "update event set position = position + 1000000 where position > {place};
         update event set position = position - 1000001 where position > 1000000"
    );
    for (what, change, undo, told) in [
        ("a changed byte", flip(1), flip(255), "not those that were sealed"),
        ("a swapped pair", swap.clone(), swap, "not those that were sealed"),
        (
            "a deleted event",
            format!("{kept}; delete from event where position = {place}"),
            "insert into event select * from kept where position not in (select position from event)".to_owned(),
            "the log has no event",
        ),
        (
            "a deleted event and a closed gap",
            format!("{kept}; delete from event where position = {place}; {renumber}"),
            "delete from event; insert into event select * from kept".to_owned(),
            "",
        ),
        (
            "a cut off tail",
            format!("{kept}; delete from event where position > {place}; update log_head set position = {place}"),
            format!("insert into event select * from kept where position > {place}; update log_head set position = {head}"),
            "the log ends at",
        ),
        (
            "a cut off tail with its seals",
            format!(
                "{kept}; create table kept_seals as select * from log_seal; delete from log_seal where position > {place};
                 delete from event where position > {place}; update log_head set position = {place}"
            ),
            format!(
                "insert into event select * from kept where position > {place}; update log_head set position = {head};
                 delete from log_seal; insert into log_seal select * from kept_seals"
            ),
            "the log ends at",
        ),
        (
            "a forged head",
            "update log_seal set hash = set_byte(hash, 3, (get_byte(hash, 3) + 1) % 256)".to_owned(),
            "update log_seal set hash = set_byte(hash, 3, (get_byte(hash, 3) + 255) % 256)".to_owned(),
            "was not made with the master key",
        ),
        (
            "a forgotten id",
            format!("create table kept_ids as select * from event_id; delete from event_id where position = {place}"),
            "delete from event_id; insert into event_id select * from kept_ids".to_owned(),
            "not registered under their ids",
        ),
        (
            "an edited score",
            "create table kept_risks as select * from risk; update risk set probability = probability + 1e-12
              where employee = (select employee from risk order by employee limit 1)"
                .to_owned(),
            "delete from risk; insert into risk select * from kept_risks".to_owned(),
            "comes out otherwise",
        ),
    ] {
        tamper(&data.0, &change);
        let found = verify(&data.0);
        assert!(
            matches!(&found, Err(text) if text.contains(told)),
            "{what} at {place}: {found:?}"
        );
        tamper(&data.0, &undo);
    }
    verify(&data.0).expect("everything put back");

    // In the read models: anywhere.
    let tables = [
        ("employee", "job_title = coalesce(job_title, '') || 'x'"),
        ("employee", "display_name = 'Somebody Else'"),
        ("employee", "hired_on = hired_on + 1"),
        ("employee", "manager = gen_random_uuid()"),
        ("employee", "status = 'DELETED'"),
        ("employee_version", "department = 'Elsewhere'"),
        (
            "employee_version",
            "recorded_from = recorded_from - interval '1 second'",
        ),
        ("employee_version", "voluntariness = 'death'"),
        ("department_stats", "headcount = headcount + 1"),
        ("team_stats", "on_leave = on_leave + 1"),
        ("timeline_entry", "effective_on = effective_on - 1"),
        ("timeline_entry", "actor = 'somebody'"),
        ("risk_history", "band = 'CRITICAL', model = 'another'"),
        ("risk_history", "probability = 0.123"),
        ("tenant_settings", "name = 'Another company'"),
        ("connection", "employees = 1"),
    ];
    let mut places = std::collections::BTreeMap::<&str, usize>::new();
    let parts = parts(&data.0);
    let tenant: TenantId = sql(&data.0, "select tenant from tenant_directory")
        .parse()
        .expect("an id");
    for number in 0..PLACES {
        let (table, change) = tables.choose(&mut random).expect("a table");
        *places.entry(table).or_default() += 1;
        let row = format!("(select ctid from {table} order by random() limit 1)");
        let change = match number % 4 {
            0 => format!("delete from {table} where ctid = {row}"),
            _ => format!("update {table} set {change} where ctid = {row}"),
        };
        tamper(
            &data.0,
            &format!("drop table if exists kept_rows; create table kept_rows as select * from {table}; {change}"),
        );
        let found = proof::rows(&parts.database, &parts.keyring, tenant)
            .await
            .expect("compared");
        assert!(
            found.difference.as_ref().is_some_and(|odd| odd.table == *table),
            "{change}: {found:?}"
        );
        if number == 0 {
            let told = verify(&data.0);
            assert!(
                matches!(&told, Err(text) if text.contains(&format!("the read model {table}"))),
                "{told:?}"
            );
        }
        tamper(
            &data.0,
            &format!("delete from {table}; insert into {table} select * from kept_rows"),
        );
    }
    eprintln!("verify: changed rows of {places:?} were all found");

    // In what projections remember.
    for (table, change, what) in [
        (
            "team_membership",
            "update team_membership set to_on = to_on + 1 where ctid = ROW",
            "teams and exits",
        ),
        (
            "team_membership",
            "delete from team_membership where ctid = ROW",
            "teams and exits",
        ),
        (
            "team_exit",
            "update team_exit set exit_on = exit_on + 1 where ctid = ROW",
            "teams and exits",
        ),
        (
            "team_person",
            "update team_person set facts = '{}' where ctid = ROW",
            "teams and exits",
        ),
        (
            "team_person",
            "delete from team_person where ctid = ROW",
            "teams and exits",
        ),
        (
            "feature_state",
            "delete from feature_state where ctid = ROW",
            "inputs of scores",
        ),
        (
            "fairness.attributes",
            "update fairness.attributes set sealed = set_byte(sealed, 20, (get_byte(sealed, 20) + 1) % 256) where ctid = ROW",
            "protected attributes",
        ),
        (
            "fairness.attributes",
            "delete from fairness.attributes where ctid = ROW",
            "protected attributes",
        ),
        (
            "fairness.attributes",
            "insert into fairness.attributes select tenant, gen_random_uuid(), sealed, position from fairness.attributes where ctid = ROW",
            "protected attributes",
        ),
    ] {
        let change = change.replace("ROW", &format!("(select ctid from {table} order by random() limit 1)"));
        tamper(
            &data.0,
            &format!("drop table if exists kept_rows; create table kept_rows as select * from {table}; {change}"),
        );
        let told = verify(&data.0).expect_err(&change);
        assert!(told.contains(what), "{change}: {told}");
        // Made again from the log, it is what it was.
        let name = match what {
            "inputs of scores" => "scorer",
            "protected attributes" => "fairness",
            _ => "teams",
        };
        let mended = crate::harness::told(&mut tool(&data.0, &["rebuild", "--projection", name])).expect("mended");
        assert!(mended.contains(": 1 of "), "{change}: {mended}");
        settled(&tenure).await;
        verify(&data.0).expect(&change);
    }
    let told = crate::harness::told(&mut tool(&data.0, &["rebuild", "--projection", "everything"]));
    assert!(
        told.expect_err("no projection")
            .contains("possible values: read-models, teams, scorer, fairness")
    );
}
