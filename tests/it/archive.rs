//! `tenure log archive` on a running installation: what was moved into files is replayed, rebuilt from, proven, and written on.

use std::path::Path;

use serde_json::json;

use crate::{
    faults::{settled, signal, sql},
    harness::{DataDir, Tenure, Vendor, today, told, tool},
    rebuild::compare,
    verify::verify,
};

fn archive(data_dir: &Path, arguments: &[&str]) -> Result<String, String> {
    told(&mut tool(
        data_dir,
        &[&["log", "archive", "--older-than", "0"], arguments].concat(),
    ))
}

/// The log's first partition, which has room for ten million events, as three that are full and one that is not.
fn in_small_partitions(data_dir: &Path) {
    let head: i64 = sql(data_dir, "select position from log_head")
        .parse()
        .expect("a number");
    let span = head / 3 - 1;
    let ends = [0, span, 2 * span, 3 * span, 10_000_000];
    let made = ends.windows(2).map(|ends| {
        format!(
            "create table event_from_{0} partition of event for values from ({0}) to ({1}); call tenure_guard_partition('event_from_{0}');",
            ends[0], ends[1]
        )
    });
    let made: String = made.collect();
    sql(
        data_dir,
        &format!(
            "begin; alter table event detach partition event_from_0; alter table event_from_0 rename to all_events; {made}
             insert into event select * from all_events; drop table all_events; commit"
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_into_files_is_history_like_any() {
    let data = DataDir::new();
    let vendor = Vendor::start(23, 25).await;
    let mut tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    // At its end the relay seals the log.
    assert!(signal(tenure.process.id(), "TERM"));
    tenure.process.wait().expect("ended");
    tenure = Tenure::start(&data.0);
    settled(&tenure).await;
    let nothing = archive(&data.0, &[]).expect("looked");
    assert!(nothing.starts_with("nothing to move"), "{nothing}");
    in_small_partitions(&data.0);
    let replayed = || told(&mut tool(&data.0, &["replay"])).expect("replayed");
    let before = replayed();

    let listed = archive(&data.0, &["--list"]).expect("listed");
    assert_eq!(listed.matches("can be moved").count(), 3, "{listed}");
    // Killed when the first file is there and the table has its events still.
    let dies = tool(&data.0, &["log", "archive", "--older-than", "0"])
        .env("TENURE_CRASH_ON_FAILPOINT", "1")
        .env("FAILPOINTS", "archived-not-detached=panic")
        .output()
        .expect("the binary");
    assert!(!dies.status.success());
    assert!(
        String::from_utf8_lossy(&dies.stderr).contains("failpoint archived-not-detached panic"),
        "{dies:?}"
    );
    assert_eq!(replayed(), before);
    let moved = archive(&data.0, &[]).expect("moved");
    assert_eq!(moved.matches("were compared one by one").count(), 3, "{moved}");
    let left: i64 = sql(&data.0, "select count(*) from event").parse().expect("a number");
    assert!(left < 10, "{left} events are left in the table");
    let listed = archive(&data.0, &["--list"]).expect("listed");
    assert_eq!(listed.matches("are in").count(), 3, "{listed}");

    assert_eq!(replayed(), before);
    let proof = verify(&data.0).expect("the log, the read models and the scores are what they were");
    assert!(proof.contains("without a gap"), "{proof}");
    let told = compare(&data.0).expect("made again from files");
    assert!(!told.contains("differ"), "{told}");

    // Commands are decided on what is in files.
    let employee = sql(
        &data.0,
        "select id from employee where status = 'ACTIVE' order by id limit 1",
    );
    let path = format!("/v1/employees/{employee}/write-note");
    let note = json!({"on": today(), "text": "still here"});
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "late")], note)
        .await;
    assert!(status == 200 || status == 202, "{answer:#}");
    settled(&tenure).await;
    assert!(replayed().starts_with(&before));
    verify(&data.0).expect("it goes on");

    let file = data.0.join("archive").join("events-000000000001");
    let name = std::fs::read_dir(data.0.join("archive"))
        .expect("files")
        .map(|file| file.expect("a file").path());
    let first = name.min().expect("a file");
    assert!(first.display().to_string().starts_with(&file.display().to_string()));
    std::fs::rename(&first, data.0.join("elsewhere")).expect("moved");
    let missing = verify(&data.0).expect_err("a file is missing");
    assert!(
        missing.contains("put the file back") && missing.contains(&first.display().to_string()),
        "{missing}"
    );
}
