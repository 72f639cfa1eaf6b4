//! Files from the request to what everybody sees.

use serde_json::{Value, json};

use crate::{
    faults::sql,
    harness::{DataDir, Tenure, eventually},
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
