//! Files from the request to what everybody sees.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    faults::{settled, sql},
    harness::{DataDir, Tenure, eventually, today},
};

/// How an administrator sends a file.
async fn send(tenure: &Tenure, path: &str, headers: &[(&str, &str)], file: impl Into<reqwest::Body>) -> (u16, String) {
    let mut request = reqwest::Client::new()
        .post(format!("http://{}{path}", tenure.listen()))
        .bearer_auth(tenure.token("admin"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(file).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

fn json_of((status, text): (u16, String)) -> (u16, Value) {
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
    )
}

const STAFF: &str = "Personalnummer;Vorname;Nachname;E-Mail;Eintritt;Stelle;Abteilung;Vorgesetzter;Gehalt;Schuhgröße
7;Bo;Batch;bo@acme.example;01.02.2020;Leiter;Verkauf;;4.100,00;44
42;Ada;Rossi;ada@acme.example;25.03.2024;Kassiererin;Verkauf;7;2.100,50;38
43;Cy;Krumm;cy@acme.example;31.02.2024;Kassierer;Verkauf;7;2.000,00;40
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_proposed_tried_taken_in_mended_and_sent_again() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let csv = [("content-type", "text/csv")];

    // What its columns say, and what is not clear.
    let (status, proposal) = json_of(send(&tenure, "/v1/files/proposal", &csv, STAFF).await);
    assert_eq!(status, 200, "{proposal:#}");
    let mut mapping = proposal["mapping"].clone();
    assert_eq!(
        (&mapping["columns"]["id"], &mapping["days"], &proposal["unread"]),
        (&json!("Personalnummer"), &json!("day_first"), &json!(["Schuhgröße"]))
    );
    assert_eq!(proposal["unclear"].as_array().map(Vec::len), Some(2), "{proposal:#}");

    // A mapping that cannot be used is refused; a mended one is kept.
    let connect = |mapping: &Value| json!({"name": "our-hr", "mapping": mapping});
    let (status, refused) = tenure
        .post("/v1/integrations/files", "admin", &[], connect(&mapping))
        .await;
    assert!(
        status == 400
            && refused["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("pay_currency")),
        "{refused:#}"
    );
    mapping["pay_currency"] = json!("EUR");
    mapping["pay_period"] = json!("MONTH");
    let (status, _) = tenure
        .post("/v1/integrations/files", "analyst", &[], connect(&mapping))
        .await;
    assert_eq!(status, 403);
    let (status, connected) = tenure
        .post("/v1/integrations/files", "admin", &[], connect(&mapping))
        .await;
    assert_eq!(status, 201, "{connected:#}");
    let id = connected["id"].as_str().expect("an id");
    let files = format!("/v1/connections/{id}/files");
    let kept = tenure.get(&format!("/v1/connections/{id}/mapping"), "admin").await;
    assert_eq!(kept, (200, mapping.clone()));

    // A dry run tells, and changes nothing.
    let (status, tried) = json_of(send(&tenure, &format!("{files}?dry_run=true"), &csv, STAFF).await);
    assert_eq!(status, 200, "{tried:#}");
    let wrong = json!([{"line": 4, "column": "Eintritt", "problem": "is no day: write it like 2026-04-03"}]);
    assert_eq!((&tried["people"], &tried["problems"]), (&json!(2), &wrong), "{tried:#}");
    assert_eq!(tried["preview"]["events"]["employee.hired"], 2, "{tried:#}");
    assert_eq!(tried["preview"]["first"][0]["data"]["on"], "2020-02-01", "{tried:#}");
    let people = "select count(*) from employee";
    assert_eq!(sql(&data.0, people), "0");

    // Those who are right are taken in; the others come back as a file, are mended in it and sent again.
    let wait = [
        ("content-type", "text/csv"),
        ("prefer", "wait=30"),
        ("accept", "text/csv"),
    ];
    let (status, back) = send(&tenure, &files, &wait, STAFF).await;
    let lines: Vec<&str> = back.lines().collect();
    assert_eq!(
        (status, lines[1..].to_vec()),
        (
            200,
            vec![
                "43;Cy;Krumm;cy@acme.example;31.02.2024;Kassierer;Verkauf;7;2.000,00;40;Eintritt is no day: write it like 2026-04-03"
            ]
        )
    );
    let mended = back.replace("31.02.2024", "28.02.2024");
    let (status, done) = json_of(send(&tenure, &files, &wait[..2], mended).await);
    assert_eq!((status, &done["outcome"]["changed"]), (200, &json!(1)), "{done:#}");
    let (_, again) = json_of(send(&tenure, &files, &wait[..2], STAFF.replace("31.02.2024", "28.02.2024")).await);
    let nothing = json!({"changed": 0, "unchanged": 3, "refused": 0, "pending": 0});
    assert_eq!(again["outcome"], nothing);

    // The same file under the same key counts once, and tells what became of it; another file is another.
    let keyed = [wait[0], wait[1], ("idempotency-key", "november")];
    let moved = STAFF.replace("31.02.2024", "28.02.2024").replace("Leiter", "Leiterin");
    for (file, changed) in [(&moved, 1), (&moved, 1), (&moved.replace("Leiterin", "Leiter"), 1)] {
        let (_, done) = json_of(send(&tenure, &files, &keyed, file.clone()).await);
        assert_eq!(done["outcome"]["changed"], changed, "{done:#}");
    }

    let query = r#"{ employees(first: 5, filter: {search: "Cy"}) { nodes { displayName jobTitle department hiredOn
        manager { displayName } timeline(first: 9) { nodes { source } } } } }"#;
    let told = eventually("what the file says", || async {
        let answer = tenure.query("hr_manager", query).await;
        let person = answer["employees"]["nodes"]
            .as_array()
            .and_then(|nodes| nodes.first())
            .cloned();
        person.filter(|person| !person["manager"].is_null()).ok_or(answer)
    })
    .await;
    assert_eq!(
        (
            &told["displayName"],
            &told["jobTitle"],
            &told["hiredOn"],
            &told["manager"]["displayName"]
        ),
        (
            &json!("Cy Krumm"),
            &json!("Kassierer"),
            &json!("2024-02-28"),
            &json!("Bo Batch")
        )
    );
    let source = json!(format!("file:{id}"));
    let timeline = told["timeline"]["nodes"].as_array().expect("entries");
    assert!(timeline.iter().any(|entry| entry["source"] == source), "{timeline:?}");

    // The same system may also send webhooks: the people are the same, and the mapping stays.
    let (status, webhooks) = tenure
        .post("/v1/integrations/webhooks", "admin", &[], json!({"name": "our-hr"}))
        .await;
    assert_eq!((status, webhooks["id"].as_str()), (201, Some(id)), "{webhooks:#}");
    assert!(webhooks["secret"].is_string(), "the first is made: {webhooks:#}");
    let kept = tenure.get(&format!("/v1/connections/{id}/mapping"), "admin").await;
    assert_eq!(kept, (200, mapping));

    // A file that is none, one without a column, a day that lies ahead, a connection that takes none.
    let nobody = "/v1/connections/00000000-0000-0000-0000-000000000001/files";
    for (path, file, status, said) in [
        (files.clone(), &b"\xff\xfe\xfd"[..], 400, "encoding that the file"),
        (
            files.clone(),
            b"Personalnummer;Vorname\n42;Ada\n",
            400,
            "\"Eintritt\" (start_date)",
        ),
        (files.clone(), b"", 400, "empty"),
        (format!("{files}?as_of=2999-01-01"), STAFF.as_bytes(), 400, "lies ahead"),
        (nobody.to_owned(), STAFF.as_bytes(), 404, "POST /v1/integrations/files"),
    ] {
        let (answered, problem) = json_of(send(&tenure, &path, &csv, file.to_vec()).await);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            answered == status && detail.contains(said),
            "{path}: {answered} {problem:#}"
        );
    }
}

/// Everything below a folder, by its path from there.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        if path.is_dir() {
            found.extend(tree(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_into_a_folder_is_taken_in_once_and_put_away() {
    let (data, inbox) = (DataDir::new(), tempfile::tempdir().expect("a folder"));
    let address = inbox.path().to_str().expect("a path");
    let tenure = Tenure::start_with(&data.0, "127.0.0.1:0", &[("TENURE_INBOX", address)]);
    let mapping = json!({"columns": {"id": "Personalnummer", "first_name": "Vorname", "last_name": "Nachname", "start_date": "Eintritt",
        "job_title": "Stelle"}, "days": "day_first"});
    let request = json!({"name": "nightly", "mapping": mapping});
    let (status, connected) = tenure.post("/v1/integrations/files", "admin", &[], request).await;
    assert_eq!(status, 201, "{connected:#}");
    let id = connected["id"].as_str().expect("an id");
    let folder = inbox.path().join(id);
    fs::create_dir_all(&folder).expect("a folder");
    // Written long ago, so that it is whole.
    let put = |name: &str, contents: &str| {
        fs::write(folder.join(name), contents).expect("written");
        let file = fs::File::options().append(true).open(folder.join(name)).expect("there");
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000);
        file.set_modified(at).expect("a time");
    };
    put("notes.csv", "Titel;Text\nx;y\n");
    put("readme.md", "not for anybody");
    put("staff.csv", STAFF);
    let taken = |expected: &'static [&'static str]| {
        let (tenure, folder) = (&tenure, &folder);
        async move {
            eventually("the files are put away", || async {
                // Sooner than by itself.
                let asked = tenure
                    .post(&format!("/v1/connections/{id}/inbox"), "admin", &[], json!({}))
                    .await;
                let found = tree(folder);
                if found == expected {
                    Ok(())
                } else {
                    Err(json!([asked.1, found]))
                }
            })
            .await;
        }
    };
    taken(&[
        "done/20260528T202640Z-staff.csv",
        "done/20260528T202640Z-staff.csv.problems.csv",
        "readme.md",
        "refused/20260528T202640Z-notes.csv",
        "refused/20260528T202640Z-notes.csv.problem.txt",
    ])
    .await;
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
    let problems = read("done/20260528T202640Z-staff.csv.problems.csv");
    assert!(
        problems.contains("43;Cy;Krumm") && problems.lines().count() == 2,
        "{problems}"
    );
    let why = read("refused/20260528T202640Z-notes.csv.problem.txt");
    assert!(why.contains("its columns are \"Titel\", \"Text\""), "{why}");
    let events =
        "select count(*), count(*) filter (where event_type = 'employee.hired') from event where kind = 'employee'";
    settled(&tenure).await;
    let before = sql(&data.0, events);
    assert!(before.ends_with("|2"), "{before}");
    let cause = tenure.query("hr_manager", "{ connections { lastCause } }").await;
    assert_eq!(cause["connections"][0]["lastCause"], "file-refused");

    // As after a process that died before it put the file away; and then mended.
    fs::remove_file(folder.join("done/20260528T202640Z-staff.csv")).expect("removed");
    put("staff.csv", STAFF);
    put("mended.csv", &problems.replace("31.02.2024", "28.02.2024"));
    taken(&[
        "done/20260528T202640Z-mended.csv",
        "done/20260528T202640Z-staff.csv",
        "done/20260528T202640Z-staff.csv.problems.csv",
        "readme.md",
        "refused/20260528T202640Z-notes.csv",
        "refused/20260528T202640Z-notes.csv.problem.txt",
    ])
    .await;
    settled(&tenure).await;
    assert!(
        sql(&data.0, events).ends_with("|3"),
        "{before} then {}",
        sql(&data.0, events)
    );
    let outcomes = "select count(*) from command_outcome where kind = 'employee'";
    assert_eq!(sql(&data.0, outcomes), "3", "the same file is the same commands");
}

/// The order in the log tells, not a clock: what somebody does while a large file is being taken in comes before the file's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_holds_nobody_up() {
    const PEOPLE: usize = 6_000;
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let csv = |people: std::ops::Range<usize>| {
        let header = "Employee ID,First Name,Last Name,Hire Date,Job Title,Department\n";
        let rows = people.map(|number| format!("{number},Ada{number},Rossi,2024-03-25,Cashier,Sales\n"));
        std::iter::once(header.to_owned()).chain(rows).collect::<String>()
    };
    let of_csv = [("content-type", "text/csv")];
    let (_, proposal) = json_of(send(&tenure, "/v1/files/proposal", &of_csv, csv(0..1)).await);
    let connect = json!({"name": "our-hr", "mapping": proposal["mapping"]});
    let (status, connected) = tenure.post("/v1/integrations/files", "admin", &[], connect).await;
    assert_eq!(status, 201, "{connected:#}");
    let files = format!("/v1/connections/{}/files", connected["id"].as_str().expect("an id"));
    let waits = [("content-type", "text/csv"), ("prefer", "wait=60")];
    let (status, report) = json_of(send(&tenure, &files, &waits, csv(0..1)).await);
    assert_eq!((status, &report["outcome"]["changed"]), (200, &json!(1)), "{report:#}");
    settled(&tenure).await;
    let people = tenure
        .query("hr_manager", "{ employees(first: 1) { nodes { id } } }")
        .await;
    let id = people["employees"]["nodes"][0]["id"].as_str().expect("an id");

    let (key, large) = (("idempotency-key", "the whole company"), csv(0..PEOPLE));
    let durable = [of_csv[0], key, ("prefer", "respond-async")];
    let (status, report) = json_of(send(&tenure, &files, &durable, large.clone()).await);
    assert_eq!(status, 202, "{report:#}");
    let review = json!({"rating": 5, "on": today()});
    let path = format!("/v1/employees/{id}/record-review");
    let (status, done) = tenure
        .post(
            &path,
            "hr_manager",
            &[("idempotency-key", "a review"), ("prefer", "wait=60")],
            review,
        )
        .await;
    assert_eq!(status, 200, "{done:#}");

    // Nobody is lost, and nobody is there twice.
    let whole = [of_csv[0], key, ("prefer", "wait=60")];
    let report = eventually("everybody is judged", || async {
        let (status, report) = json_of(send(&tenure, &files, &whole, large.clone()).await);
        if status == 200 { Ok(report) } else { Err(report) }
    })
    .await;
    let counts = ["changed", "unchanged", "refused", "pending"].map(|what| report["outcome"][what].as_u64());
    assert_eq!(
        counts,
        [Some(PEOPLE as u64 - 1), Some(1), Some(0), Some(0)],
        "{report:#}"
    );
    settled(&tenure).await;
    // Who asks again what became of it makes no work.
    let (status, _) = json_of(send(&tenure, &files, &whole, large.clone()).await);
    let again = sql(&data.0, "select count(*) from outbox where bulk");
    assert_eq!((status, again.trim()), (200, "0"));
    let told = tenure
        .query("hr_manager", "{ employees(first: 1) { totalCount } }")
        .await;
    assert_eq!(told["employees"]["totalCount"], json!(PEOPLE));
    let after = "select count(distinct stream_id) from event where actor like 'file:%' and position > (select max(position) from event where actor like 'user:%')";
    let after: usize = sql(&data.0, after).trim().parse().expect("a number");
    assert!(
        after > PEOPLE / 2,
        "only {after} people of the file came after what was done later"
    );
}
