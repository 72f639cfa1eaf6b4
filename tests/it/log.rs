//! `tenure log copy` on a running installation: to KurrentDB (a stand-in for it), and from there into another database.

use std::path::Path;

use secrecy::ExposeSecret;

use crate::{
    faults::{settled, sql},
    harness::{DataDir, Tenure, Vendor, told, tool},
    stand_in::StandIn,
};

fn copy(data_dir: &Path, from: &str, to: &str) -> Result<String, String> {
    told(&mut tool(data_dir, &["log", "copy", "--from", from, "--to", to]))
}

/// What `tenure log copy` says of a place: count and hash.
fn of<'a>(told: &'a str, place: &str) -> &'a str {
    let line = told.lines().find_map(|line| line.strip_prefix(place));
    line.unwrap_or_else(|| panic!("nothing of {place}in {told}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_products_log_goes_to_kurrentdb_and_into_another_database() {
    let data = DataDir::new();
    let vendor = Vendor::start(21, 15).await;
    let tenure = Tenure::start(&data.0);
    tenure.connect(&vendor).await;
    settled(&tenure).await;
    let kurrent = StandIn::start();
    let address = kurrent.address().expose_secret().to_owned();

    let there = copy(&data.0, "postgres", &address).expect("copied");
    assert!(there.contains(", 0 were there") && there.contains("equal"), "{there}");
    assert_eq!(of(&there, "source: "), of(&there, "target: "));

    // By its environment's name, which no list of processes shows.
    let again = told(
        tool(&data.0, &["log", "copy", "--from", "postgres", "--to", "kurrentdb"]).env("EVENTSTORE_URL", &address),
    );
    assert!(again.expect("copied").starts_with("0 events copied"));

    sql(&data.0, "create database other");
    let addresses = std::fs::read_to_string(data.0.join("addresses.json")).expect("addresses");
    let addresses: serde_json::Value = serde_json::from_str(&addresses).expect("JSON");
    let own = addresses["database_url"].as_str().expect("an address");
    let other = format!("{}/other", own.rsplit_once('/').expect("a path").0);
    let on_other = |arguments: &[&str]| {
        let mut tool = tool(&data.0, arguments);
        tool.env("DATABASE_URL", &other).env("KAFKA_BROKERS", "127.0.0.1:1");
        told(&mut tool)
    };
    on_other(&["migrate"]).expect("migrated");
    let back = copy(&data.0, &address, &other).expect("copied");
    assert_eq!(of(&back, "target: "), of(&there, "source: "));
    // It has no seals yet, and no heads outside.
    let heads = data.0.join("other-heads").display().to_string();
    let proof = on_other(&["verify", "--log-heads", &heads]).expect("a whole log");
    assert!(proof.contains("without a gap") && proof.contains("verified"), "{proof}");

    let nowhere = copy(&data.0, "postgres", "mysql://me:secret@a").expect_err("no place");
    assert!(!nowhere.contains("secret"), "{nowhere}");
}
