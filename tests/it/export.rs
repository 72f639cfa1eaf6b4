//! `tenure export` on a running installation, and the notebook of the documentation on what it writes.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use serde_json::Value;

use crate::{
    faults::{settled, sql},
    harness::{DataDir, Tenure, Vendor, script, today, told, tool},
};

const PURPOSE: &str = "turnover by department, for the works council";

/// What `tenure export` writes to standard output; what it complains of otherwise.
fn export(data_dir: &Path, arguments: &[&str]) -> Result<String, String> {
    told(tool(data_dir, &[&["export"], arguments].concat()).current_dir(data_dir))
}

fn lines(data_dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments = [arguments, &["--format", "jsonl", "--out", "-", "--purpose", PURPOSE]].concat();
    let text = export(data_dir, &arguments).expect("exported");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_is_what_there_is_without_names() {
    let data = DataDir::new();
    let vendor = Vendor::start(15, 150).await;
    let tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;

    // The log, as it lies there.
    let head: i64 = sql(&data.0, "select position from log_head").parse().expect("a number");
    let events = lines(&data.0, &["events"]);
    let positions: Vec<i64> = events.iter().filter_map(|event| event["position"].as_i64()).collect();
    assert!(positions.len() as i64 >= head);
    assert!(
        positions
            .iter()
            .zip(1..)
            .all(|(position, expected)| *position == expected)
    );
    let hires = lines(&data.0, &["events", "--kinds", "employee.hired"]);
    let count = sql(
        &data.0,
        "select count(*) from event where event_type = 'employee.hired'",
    );
    assert_eq!(hires.len().to_string(), count);

    // Everybody today, with scores; small groups cannot be told by their department.
    let people = lines(&data.0, &["employees"]);
    let known = sql(
        &data.0,
        "select id, status, coalesce(department, '') from employee order by id",
    );
    let known: Vec<Vec<&str>> = known.lines().map(|line| line.split('|').collect()).collect();
    assert_eq!(people.len(), known.len());
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &known {
        *sizes.entry(row[2]).or_default() += 1;
    }
    assert!(
        sizes.values().any(|size| *size < 5) && sizes.values().any(|size| *size >= 5),
        "{sizes:?}"
    );
    for (person, row) in people.iter().zip(&known) {
        assert_eq!(
            (person["employee"].as_str(), person["status"].as_str()),
            (Some(row[0]), Some(row[1]))
        );
        let department = person["department"].as_str().unwrap_or_default();
        assert_eq!(department, if sizes[row[2]] < 5 { "" } else { row[2] });
    }
    let scored = people.iter().filter(|person| person["risk"].is_number()).count();
    assert_eq!(scored.to_string(), sql(&data.0, "select count(*) from risk"));
    let all = serde_json::to_string(&people).expect("text");
    for name in sql(
        &data.0,
        "select display_name from employee where display_name is not null",
    )
    .lines()
    {
        assert!(!all.contains(name), "{name}");
    }
    let year_ago = (today() - chrono::Days::new(365)).to_string();
    let then = lines(&data.0, &["employees", "--as-of", &year_ago]);
    assert!(then.len() < people.len() && !then.is_empty(), "{} then", then.len());
    assert!(
        then.iter().all(|person| person["risk"].is_null()),
        "nobody had a score a year ago"
    );

    let scores = lines(&data.0, &["risk"]);
    assert_eq!(
        scores.len().to_string(),
        sql(&data.0, "select count(*) from risk_history")
    );
    let frame = lines(&data.0, &["frame"]);
    assert!(frame.len() > people.len(), "{} rows", frame.len());
    // Not every row has an outcome: who was dismissed within the 90 days neither left nor stayed.
    let outcomes = frame
        .iter()
        .filter(|row| row["left_within_90_days"].is_boolean())
        .count();
    assert!(
        outcomes > frame.len() / 2,
        "{outcomes} outcomes in {} rows",
        frame.len()
    );

    // Files of every kind; the notebook opens them.
    for what in ["events", "employees", "risk", "frame"] {
        for format in ["parquet", "arrow", "csv", "jsonl"] {
            export(&data.0, &[what, "--format", format, "--purpose", PURPOSE]).expect("exported");
            assert!(data.0.join(format!("{what}.{format}")).is_file());
        }
    }
    notebook(&data.0);

    // Whoever asked, and what for, is history too.
    settled(&tenure).await;
    let asked = sql(
        &data.0,
        "select count(*) from event where event_type = 'access.history-asked-for'",
    );
    assert_eq!(asked, (6 + 16).to_string());

    // Mistakes.
    let refused = |arguments: &[&str], told: &str| {
        let purpose = ["--purpose", PURPOSE, "--out", "refused"];
        let problem = export(&data.0, &[arguments, &purpose].concat()).expect_err(told);
        assert!(problem.contains(told), "{problem}");
        assert!(!data.0.join("refused").exists() && !data.0.join("refused.part").exists());
    };
    let tomorrow = (today() + chrono::Days::new(2)).to_string();
    refused(&["employees", "--as-of", &tomorrow], "has not come yet");
    refused(&["employees", "--known-at", &tomorrow], "in the future");
    refused(&["employees", "--as-of", "1900-01-01"], "nothing of what is asked for");
    refused(
        &["events", "--as-of", &year_ago],
        "--as-of is for employees, not for events",
    );
    refused(&["events", "--to", "1990-01-01"], "the log has events from");
    refused(&["frame", "--program", "No Such"], "No Such");
    // A full disk: whoever reads a file must not take a piece of one for the whole.
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a full disk");
        let arguments = ["export", "risk", "--out", "-", "--format", format, "--purpose", PURPOSE];
        let mut command = tool(&data.0, &arguments);
        let status = command.stdout(full).stderr(Stdio::null()).status().expect("the binary");
        assert!(!status.success(), "{format}");
    }
    let problem = export(&data.0, &["events"]).expect_err("no purpose");
    assert!(problem.contains("--purpose"), "{problem}");
}

/// Runs the notebook's cells on the exported files, where Python and its packages may be fetched (in CI).
fn notebook(folder: &Path) {
    if std::env::var_os("TENURE_TEST_NOTEBOOK").is_none() {
        eprintln!("export: the notebook is not run (TENURE_TEST_NOTEBOOK is not set)");
        return;
    }
    script("docs/notebook/run", &[folder.to_str().expect("a path")]);
}
