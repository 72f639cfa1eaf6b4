//! `tenure replay` on a running installation.

use std::path::Path;

use serde_json::Value;

use crate::{
    faults::{settled, sql},
    harness::{DataDir, Tenure, Vendor, parts, today, told, tool},
};

/// What `tenure replay` writes, a CloudEvent on each line; what it complains of otherwise.
fn replay(data_dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    told(&mut tool(data_dir, &[&["replay"], arguments].concat())).map(String::into_bytes)
}

fn events(lines: &[u8]) -> Vec<Value> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_told_again_in_order_and_the_same_twice() {
    let data = DataDir::new();
    let vendor = Vendor::start(12, 20).await;
    let tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    let head: usize = sql(&data.0, "select position from log_head").parse().expect("a number");

    let first = replay(&data.0, &[]).expect("replayed");
    assert!(
        first == replay(&data.0, &["--speed", "1000000x"]).expect("replayed"),
        "two replays, same bytes"
    );
    let all = events(&first);
    let positions: Vec<String> = all
        .iter()
        .map(|event| event["position"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(positions, (1..=head).map(|n| n.to_string()).collect::<Vec<_>>());

    let day = today().to_string();
    let hires =
        events(&replay(&data.0, &["--from", &day, "--to", &day, "--kinds", "employee.hired"]).expect("replayed"));
    let expected = all.iter().filter(|event| event["type"] == "employee.hired").count();
    assert!(expected > 0);
    assert_eq!(hires.len(), expected);
    assert!(
        hires
            .iter()
            .all(|event| event["type"] == "employee.hired" && event["specversion"] == "1.0")
    );
    let tenant = sql(&data.0, "select tenant from tenant_directory");
    assert_eq!(replay(&data.0, &["--tenant", &tenant]).expect("replayed"), first);
    // A middle moment parts history in two.
    let middle = all[head / 2]["time"].as_str().expect("a time");
    let later = events(&replay(&data.0, &["--from", middle]).expect("replayed"));
    assert_eq!(
        later.first().map(|event| event["time"].clone()),
        Some(all[head / 2]["time"].clone())
    );
    assert_eq!(
        later.last(),
        all.last()
            .map(|last| {
                let mut last = last.clone();
                last["previousposition"] = later.last().expect("events")["previousposition"].clone();
                last
            })
            .as_ref()
    );

    // Looking back is history too: refused without a purpose, recorded with one, and what it was for is sealed.
    let past =
        r#"{ employees(asOf: "2026-01-31") { totalCount } departments(knownAt: "2026-01-31T10:00:00Z") { name } }"#;
    let refused = tenure.ask("analyst", past, &[]).await;
    assert!(
        refused["errors"][0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("Tenure-Purpose")),
        "{refused:#}"
    );
    let answer = tenure
        .ask("analyst", past, &[("tenure-purpose", "the winter season")])
        .await;
    assert!(
        answer["errors"].is_null() && answer["data"]["employees"]["totalCount"].is_number(),
        "{answer:#}"
    );
    // So is taking data out.
    let out = data.0.join("dataset.parquet");
    let take = |arguments: &[&str]| {
        let mut command = tool(&data.0, &["dataset"]);
        command
            .arg("--out")
            .arg(&out)
            .args(arguments)
            .output()
            .expect("the binary")
    };
    assert!(!take(&[]).status.success() && !take(&["--purpose", " "]).status.success() && !out.exists());
    let taken = take(&["--purpose", "the winter season"]);
    assert!(
        taken.status.success() && out.exists(),
        "{}",
        String::from_utf8_lossy(&taken.stderr)
    );
    settled(&tenure).await;
    let asked = replay(&data.0, &["--kinds", "access"]).expect("replayed");
    assert!(
        !String::from_utf8_lossy(&asked).contains("winter"),
        "a purpose lies open"
    );
    let about: Vec<Value> = events(&asked)
        .into_iter()
        .map(|event| event["data"]["about"].clone())
        .collect();
    assert_eq!(about.len(), 3, "{about:?}");
    assert!(
        ["employees", "departments", "dataset"]
            .iter()
            .all(|wanted| about.contains(&(*wanted).into()))
    );
    let is_known =
        |actor: &Value| actor == "user:dev-analyst" || actor.as_str().is_some_and(|actor| actor.starts_with("cli:"));
    assert!(
        events(&asked)
            .iter()
            .all(|event| is_known(&event["actor"]) && event["type"] == "access.history-asked-for")
    );
    let head: usize = sql(&data.0, "select position from log_head").parse().expect("a number");

    for (wrong, told) in [
        (["--to", "2001-01-01"], "the log has events from"),
        (["--kinds", "employee.hire"], "no event in that range"),
        (["--from", "yesterday"], "2026-01-31"),
        (["--into", "kafka:tenure.events"], "product's own"),
    ] {
        let complaint = replay(&data.0, &wrong).expect_err("nothing to replay");
        assert!(complaint.contains(told), "{complaint}");
    }

    // Into Kafka: every event once, confirmed.
    let said = replay(&data.0, &["--into", "kafka:analysts.history"]).expect("replayed");
    assert!(said.is_empty());
    let partitions = parts(&data.0)
        .brokers
        .partitions("analysts.history")
        .await
        .expect("a topic");
    assert_eq!(partitions, schemas::topics::PARTITIONS_DEFAULT);
    assert_eq!(
        parts(&data.0)
            .brokers
            .records("analysts.history")
            .await
            .expect("counted"),
        head as i64
    );
}
