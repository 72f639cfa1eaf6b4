//! Identity providers from the request to what everybody sees: the sequences that Okta and Entra ID really send (facts/connectors.md A3),
//! and what a public checker of SCIM servers finds.

use reqwest::{
    Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};

use crate::{
    faults::{imported, settled, sql},
    harness::{DataDir, Tenure, Vendor, eventually, script, today},
    outages::employed,
};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const EMPLOYMENT: &str = "urn:ietf:params:scim:schemas:extension:tenure:2.0:User";

/// An identity provider.
struct Provider {
    url: String,
    token: String,
}

impl Provider {
    async fn connect(tenure: &Tenure, name: &str) -> (Self, Value) {
        let (status, connected) = tenure
            .post("/v1/integrations/scim", "admin", &[], json!({"name": name}))
            .await;
        assert_eq!(status, 201, "{connected:#}");
        let url = format!("http://{}/scim/v2", tenure.listen());
        let token = connected["token"].as_str().expect("a token").to_owned();
        (Self { url, token }, connected)
    }

    async fn sent(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, HeaderMap, Value) {
        let mut request = reqwest::Client::new()
            .request(method, format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/scim+json; charset=utf-8")
                .body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a text");
        let body = if text.is_empty() {
            Value::Null
        } else {
            assert_eq!(headers[CONTENT_TYPE], "application/scim+json", "{path}: {text}");
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
        };
        (status, headers, body)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.sent(Method::GET, path, &[], None).await;
        assert_eq!(status, 200, "{path}: {body:#}");
        body
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let (status, _, body) = self.sent(method, path, &[], Some(body)).await;
        (status, body)
    }

    async fn create(&self, endpoint: &str, body: Value) -> String {
        let (status, headers, made) = self.sent(Method::POST, endpoint, &[], Some(body)).await;
        assert_eq!(status, 201, "{made:#}");
        assert_eq!(headers["location"].to_str().ok(), made["meta"]["location"].as_str());
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn patch(&self, path: &str, operations: Value) -> (u16, Value) {
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        self.ask(Method::PATCH, path, body).await
    }
}

/// What everybody sees of somebody.
async fn seen(tenure: &Tenure, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    let query = format!(
        "{{ employees(first: 5, filter: {{search: \"{name}\"}}) {{ nodes {{ id displayName status hiredOn jobTitle department location
            workEmail manager {{ displayName }} timeline(first: 20) {{ nodes {{ source }} }} }} }} }}"
    );
    eventually(name, || async {
        let answer = tenure.query("hr_manager", &query).await;
        let nodes = answer["employees"]["nodes"].as_array().cloned().unwrap_or_default();
        match nodes.as_slice() {
            [one] if is(one) => Ok(one.clone()),
            _ => Err(answer),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn okta_provisions_changes_and_switches_off() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let (okta, connected) = Provider::connect(&tenure, "okta").await;
    let id = connected["id"].as_str().expect("an id");

    // Who is not proven is answered alike, and as SCIM has it.
    for token in ["", "tenure_scim_x", &okta.token[..okta.token.len() - 1]] {
        let (status, _, refused) = Provider {
            url: okta.url.clone(),
            token: token.to_owned(),
        }
        .sent(Method::GET, "/Users", &[], None)
        .await;
        assert_eq!((status, &refused["status"]), (401, &json!("401")), "{refused:#}");
        assert_eq!(refused["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    }

    // The test of the connection, and the look before somebody is made.
    let empty = okta.get("/Users?startIndex=1&count=2").await;
    assert_eq!((&empty["totalResults"], &empty["Resources"]), (&json!(0), &json!([])));
    let ada_query = "/Users?filter=userName%20eq%20%22ada%40acme.example%22&startIndex=1&count=100";
    assert_eq!(okta.get(ada_query).await["totalResults"], 0);

    // Her manager is not here yet, and named by what he signs in with.
    let mut ada = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE, EMPLOYMENT],
        "userName": "ada@acme.example", "externalId": "00uADA", "active": true, "password": "1mz050nq", "groups": [], "locale": "it-IT",
        "name": {"givenName": "Ada", "familyName": "Rossi"}, "displayName": "Ada Rossi", "title": "Cashier",
        "emails": [{"primary": true, "value": "ada@acme.example", "type": "work"}],
        "addresses": [{"type": "work", "locality": "Turin"}],
        ENTERPRISE: {"department": "Sales", "manager": {"value": "BO@acme.example", "displayName": "Bo Batch"}},
        EMPLOYMENT: {"startDate": "2024-03-01"},
    });
    let ada_id = okta.create("/Users", ada.clone()).await;
    let (status, problem) = okta.ask(Method::POST, "/Users", ada.clone()).await;
    assert_eq!(
        (status, &problem["scimType"]),
        (409, &json!("uniqueness")),
        "{problem:#}"
    );
    let found = okta.get(ada_query).await;
    let kept = &found["Resources"][0];
    assert_eq!((&found["totalResults"], &kept["id"]), (&json!(1), &json!(ada_id)));
    assert_eq!((kept.get("password"), kept.get("groups")), (None, None), "{kept:#}");
    let person = seen(&tenure, "Ada", |_| true).await;
    assert_eq!(
        (
            &person["hiredOn"],
            &person["jobTitle"],
            &person["department"],
            &person["location"],
            &person["workEmail"]
        ),
        (
            &json!("2024-03-01"),
            &json!("Cashier"),
            &json!("Sales"),
            &json!("Turin"),
            &json!("ada@acme.example")
        ),
        "{person:#}"
    );
    assert!(person["manager"].is_null(), "{person:#}");
    let bo = json!({"userName": "bo@acme.example", "externalId": "00uBO", "active": true, "name": {"givenName": "Bo", "familyName": "Batch"},
        "title": "Manager", EMPLOYMENT: {"startDate": "2020-02-01"}});
    let bo_id = okta.create("/Users", bo.clone()).await;
    let person = seen(&tenure, "Ada", |one| !one["manager"].is_null()).await;
    assert_eq!(person["manager"]["displayName"], "Bo Batch");
    let source = json!(format!("scim:{id}"));
    let timeline = person["timeline"]["nodes"].as_array().expect("entries");
    assert!(timeline.iter().any(|entry| entry["source"] == source), "{timeline:?}");

    // A whole user again: the same is no news, another department is.
    settled(&tenure).await;
    let events = "select count(*) from event where kind = 'employee'";
    let before = sql(&data.0, events);
    let path = format!("/Users/{ada_id}");
    let (status, same) = okta.ask(Method::PUT, &path, ada.clone()).await;
    assert_eq!((status, &same["meta"]["version"]), (200, &json!("W/\"1\"")), "{same:#}");
    ada[ENTERPRISE]["department"] = json!("Stores");
    let (status, changed) = okta.ask(Method::PUT, &path, ada.clone()).await;
    assert_eq!(
        (status, &changed["meta"]["version"]),
        (200, &json!("W/\"2\"")),
        "{changed:#}"
    );
    seen(&tenure, "Ada", |one| one["department"] == "Stores").await;
    settled(&tenure).await;
    let after: i64 = sql(&data.0, events).parse().expect("a number");
    assert_eq!(after - before.parse::<i64>().expect("a number"), 1, "a transfer, once");

    // Groups are pushed, renamed and emptied as Okta does it.
    let members = json!([{"value": ada_id, "display": "Ada Rossi"}, {"value": bo_id}]);
    let group = okta
        .create("/Groups", json!({"displayName": "Tellers", "members": members}))
        .await;
    let group = format!("/Groups/{group}");
    let user = okta.get(&path).await;
    assert_eq!(
        user["groups"][0]["$ref"],
        json!(format!(
            "{}{group}",
            okta.get(&group).await["meta"]["location"]
                .as_str()
                .expect("a place")
                .trim_end_matches(&group)
        ))
    );
    for (operation, names, count) in [
        (
            json!({"op": "replace", "value": {"id": group, "displayName": "Cashiers"}}),
            "Cashiers",
            2,
        ),
        (
            json!({"op": "remove", "path": format!("members[value eq \"{bo_id}\"]")}),
            "Cashiers",
            1,
        ),
        (
            json!({"op": "add", "path": "members", "value": [{"value": bo_id}]}),
            "Cashiers",
            2,
        ),
    ] {
        assert_eq!(okta.patch(&group, json!([operation])).await, (204, Value::Null));
        let kept = okta.get(&group).await;
        let members = kept["members"].as_array().map(Vec::len);
        assert_eq!(
            (&kept["displayName"], members),
            (&json!(names), Some(count)),
            "{kept:#}"
        );
    }
    let without = okta
        .get("/Groups?filter=displayName%20eq%20%22cashiers%22&excludedAttributes=members")
        .await;
    assert_eq!(
        (&without["totalResults"], without["Resources"][0].get("members")),
        (&json!(1), None)
    );
    let (status, problem) = okta
        .patch(
            &group,
            json!([{"op": "add", "path": "members", "value": [{"value": "00000000-0000-0000-0000-000000000001"}]}]),
        )
        .await;
    assert_eq!(
        (status, &problem["scimType"]),
        (400, &json!("invalidValue")),
        "{problem:#}"
    );

    // Nobody is their own manager, and the others go on.
    let own = json!([{"op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": {"value": ada_id}}]);
    let (status, problem) = okta.patch(&path, own).await;
    assert!(
        status == 400
            && problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("their own manager")),
        "{problem:#}"
    );

    // Switched off, which is how Okta deletes.
    let (status, off) = okta
        .patch(&path, json!([{"op": "replace", "value": {"active": false}}]))
        .await;
    assert_eq!((status, &off["active"]), (200, &json!(false)), "{off:#}");
    seen(&tenure, "Ada", |one| one["status"] == "LEFT").await;

    // Nothing that somebody says lies open.
    let table = sql(&data.0, "select string_agg(r::text, ' ') from scim_resource r");
    for word in ["Rossi", "acme.example", "00uADA", "Cashiers"] {
        assert!(!table.contains(word), "{word}");
    }
    // A new token, beside which the one before is still taken, and the one before that is not.
    let mut latest = okta.token.clone();
    for _ in 0..2 {
        let request = json!({"name": "okta", "new_token": true});
        let (_, again) = tenure.post("/v1/integrations/scim", "admin", &[], request).await;
        assert_eq!(again["id"], id);
        latest = again["token"].as_str().expect("a token").to_owned();
    }
    let url = okta.url.clone();
    assert_eq!(Provider { url, token: latest }.get(&path).await["id"], json!(ada_id));
    eventually("the old token is refused", || async {
        match okta.sent(Method::GET, &path, &[], None).await {
            (401, ..) => Ok(()),
            (status, ..) => Err(json!(status)),
        }
    })
    .await;
    let (_, again) = tenure
        .post("/v1/integrations/scim", "admin", &[], json!({"name": "okta"}))
        .await;
    assert_eq!(again.get("token"), None, "it is shown once");
    let (status, _) = tenure
        .post("/v1/integrations/scim", "analyst", &[], json!({"name": "okta"}))
        .await;
    assert_eq!(status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_probes_patches_and_deletes() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let (entra, _) = Provider::connect(&tenure, "entra").await;

    // Test connection.
    let probe = "/Users?aadOptscim062020&filter=userName+eq+%22a8b1f0c2-6a06-4a5c-b5a9-61d7b4c0c9b1%22";
    assert_eq!(entra.get(probe).await["totalResults"], 0);
    assert_eq!(entra.get("/ServiceProviderConfig").await["patch"]["supported"], true);
    assert_eq!(entra.get("/ResourceTypes").await["totalResults"], 2);
    let schemas = entra.get("/Schemas").await;
    assert_eq!(schemas["totalResults"], 4);
    let one = entra.get(&format!("/Schemas/{EMPLOYMENT}")).await;
    assert_eq!(one["attributes"][0]["name"], "startDate");

    let ada = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE], "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        "userName": "ada@acme.example", "active": true, "displayName": "Ada Rossi", "meta": {"resourceType": "User"},
        "name": {"formatted": "Ada Rossi", "familyName": "Rossi", "givenName": "Ada"}, "roles": [],
        "emails": [{"primary": true, "type": "work", "value": "ada@acme.example"}],
    });
    let ada_id = entra.create("/Users", ada).await;
    let bo_id = entra
        .create(
            "/Users",
            json!({"userName": "bo", "name": {"givenName": "Bo", "familyName": "Batch"}}),
        )
        .await;
    let path = format!("/Users/{ada_id}");
    let external = "/Users?filter=externalId+eq+%220a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef%22";
    assert_eq!(entra.get(external).await["Resources"][0]["id"], json!(ada_id));
    settled(&tenure).await;
    assert_eq!(
        sql(&data.0, "select count(*) from event where kind = 'employee'"),
        "0",
        "accounts, and nobody's employment"
    );

    // One operation for each attribute; the first day makes an employee of the account.
    let (status, _) = entra
        .patch(
            &path,
            json!([
                {"op": "Add", "path": format!("{EMPLOYMENT}:startDate"), "value": "2024-03-01T00:00:00Z"},
                {"op": "Replace", "path": "title", "value": "Cashier"},
                {"op": "Add", "path": format!("{ENTERPRISE}:manager"), "value": bo_id},
                {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "rossi@acme.example"},
            ]),
        )
        .await;
    assert_eq!(status, 200);
    let person = seen(&tenure, "Ada", |one| one["workEmail"] == "rossi@acme.example").await;
    assert_eq!(
        (&person["hiredOn"], &person["jobTitle"]),
        (&json!("2024-03-01"), &json!("Cashier"))
    );
    let flat = json!({"displayName": "Ada Bianchi", "name.familyName": "Bianchi", format!("{ENTERPRISE}:department"): "Stores"});
    let (status, changed) = entra.patch(&path, json!([{"op": "replace", "value": flat}])).await;
    assert_eq!(
        (status, &changed[ENTERPRISE]["department"]),
        (200, &json!("Stores")),
        "{changed:#}"
    );
    seen(&tenure, "Bianchi", |one| one["department"] == "Stores").await;

    // Entity tags: what was read may have changed since.
    let (_, headers, current) = entra.sent(Method::GET, &path, &[], None).await;
    let tag = headers["etag"].to_str().expect("a tag");
    assert_eq!(current["meta"]["version"], tag);
    let (status, ..) = entra.sent(Method::GET, &path, &[("if-none-match", tag)], None).await;
    assert_eq!(status, 304);
    let patch = json!({"Operations": [{"op": "Replace", "path": "nickName", "value": "Adi"}]});
    let stale = [("if-match", "W/\"1\"")];
    let (status, _, problem) = entra.sent(Method::PATCH, &path, &stale, Some(patch.clone())).await;
    assert_eq!((status, &problem["status"]), (412, &json!("412")));
    let (status, ..) = entra
        .sent(Method::PATCH, &path, &[("if-match", tag)], Some(patch))
        .await;
    assert_eq!(status, 200);

    // Groups: members go by their values, and a group is read without them.
    let group = entra
        .create(
            "/Groups",
            json!({"externalId": "g", "displayName": "Tellers", "members": []}),
        )
        .await;
    let group = format!("/Groups/{group}");
    let both = json!([{"value": ada_id}, {"value": bo_id}]);
    assert_eq!(
        entra
            .patch(&group, json!([{"op": "Add", "path": "members", "value": both}]))
            .await
            .0,
        204
    );
    assert_eq!(
        entra
            .patch(
                &group,
                json!([{"op": "Remove", "path": "members", "value": [{"value": bo_id}]}])
            )
            .await
            .0,
        204
    );
    let kept = entra.get(&group).await;
    assert_eq!(
        (kept["members"].as_array().map(Vec::len), &kept["members"][0]["value"]),
        (Some(1), &json!(ada_id))
    );
    assert_eq!(
        entra
            .get(&format!("{group}?excludedAttributes=members"))
            .await
            .get("members"),
        None
    );
    let is_in = format!(
        "/Groups?filter=id+eq+%22{}%22+and+members+eq+%22{ada_id}%22",
        &group[8..]
    );
    assert_eq!(entra.get(&is_in).await["totalResults"], 1);

    // Pages, and attributes.
    let page = entra
        .get("/Users?startIndex=2&count=1&attributes=userName,name.givenName")
        .await;
    assert_eq!(
        (&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]),
        (&json!(2), &json!(2), &json!(1))
    );
    let shown = &page["Resources"][0];
    assert_eq!(
        (&shown["userName"], &shown["name"], shown.get("meta")),
        (&json!("bo"), &json!({"givenName": "Bo"}), None),
        "{shown:#}"
    );
    assert_eq!(entra.get("/Users?count=0").await["totalResults"], 2);

    // What is not understood is said so, and by the words of the standard.
    for (method, path, body, status, kind) in [
        (
            Method::GET,
            "/Users?filter=shoeSize+eq+44",
            Value::Null,
            400,
            json!("invalidFilter"),
        ),
        (
            Method::GET,
            "/Users?count=some",
            Value::Null,
            400,
            json!("invalidValue"),
        ),
        (Method::POST, "/Users", json!({"name": {}}), 400, json!("invalidValue")),
        (Method::POST, "/Users", json!("x"), 400, json!("invalidSyntax")),
        (Method::GET, "/Users/7", Value::Null, 404, Value::Null),
        (Method::GET, "/Shoes", Value::Null, 404, Value::Null),
        (Method::GET, "/Me", Value::Null, 501, Value::Null),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let (answered, _, problem) = entra.sent(method, path, &[], body).await;
        assert_eq!((answered, &problem["scimType"]), (status, &kind), "{path}: {problem:#}");
        assert_eq!(problem["status"], json!(status.to_string()));
    }

    // Another tenant's or provider's accounts are not here.
    let (other, _) = Provider::connect(&tenure, "okta").await;
    assert_eq!(other.sent(Method::GET, &path, &[], None).await.0, 404);
    assert_eq!(other.get("/Users").await["totalResults"], 0);

    // Soft and hard deletion; and what Tenure erases is gone here, too.
    let off = json!([{"op": "Replace", "path": "active", "value": "False"}]);
    assert_eq!(entra.patch(&path, off).await.1["active"], json!(false));
    let person = seen(&tenure, "Bianchi", |one| one["status"] == "LEFT").await;
    let employee = person["id"].as_str().expect("an id");
    let erase = json!({"on": today(), "basis": "asked for"});
    let to = format!("/v1/employees/{employee}/erase");
    let (status, told) = tenure.post(&to, "admin", &[("idempotency-key", "erase")], erase).await;
    assert_eq!(status, 200, "{told:#}");
    assert_eq!(entra.sent(Method::GET, &path, &[], None).await.0, 404);
    assert_eq!(entra.get(&group).await.get("members"), None);
    let bo = format!("/Users/{bo_id}");
    assert_eq!(entra.sent(Method::DELETE, &bo, &[], None).await.0, 204);
    assert_eq!(entra.sent(Method::DELETE, &bo, &[], None).await.0, 404);
    let left = sql(
        &data.0,
        "select (select count(*) from scim_resource where kind = 'user') + (select count(*) from scim_member)",
    );
    assert_eq!(left, "0");
}

/// The same person in an HRIS and at an identity provider is one employee: what the HRIS says counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_belongs_to_the_employee_of_another_source() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(47, 12).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    let (okta, connection) = Provider::connect(&tenure, "okta").await;
    let account = |name: &str, email: &str| {
        json!({"userName": name, "name": {"givenName": name, "familyName": "Okta"}, "emails": [{"type": "work", "value": email}],
            EMPLOYMENT: {"startDate": "2024-03-01"}})
    };
    let statuses = |email: &str| {
        let query = format!(
            "select coalesce(string_agg(status, ' ' order by status), '') from employee where lower(work_email) = lower('{email}')"
        );
        sql(&data.0, &query)
    };

    // Somebody who is known already.
    let [colleague, person] = employed(&vendor, 2)[..] else {
        panic!("two people who work there")
    };
    let known = sql(
        &data.0,
        &format!("select work_email from employee where remote_id = '{colleague}'"),
    );
    assert_eq!(statuses(&known), "ACTIVE");
    let theirs = okta.create("/Users", account("known", &known.to_uppercase())).await;
    settled(&tenure).await;
    assert_eq!(statuses(&known), "ACTIVE");
    let path = format!("/Users/{theirs}");
    let off = json!([{"op": "replace", "value": {"active": false, "title": "Nobody"}}]);
    assert_eq!(okta.patch(&path, off).await.0, 200);
    let on = json!([{"op": "replace", "value": {"active": true}}]);
    assert_eq!(okta.patch(&path, on).await.0, 200);
    settled(&tenure).await;
    assert_eq!(statuses(&known), "ACTIVE", "an account says nothing of them");

    // Somebody whom the HRIS does not know, with a manager whom it does.
    let mut report = account("report", "report@acme.example");
    report[ENTERPRISE] = json!({"manager": {"value": "KNOWN"}});
    okta.create("/Users", report).await;
    let manager = format!("select id from employee where work_email = '{known}'");
    let managed = "select coalesce(manager::text, '') from employee where work_email = 'report@acme.example'";
    eventually("the report's manager", || async {
        let found = sql(&data.0, managed);
        if found == sql(&data.0, &manager) {
            Ok(())
        } else {
            Err(json!(found))
        }
    })
    .await;

    // Somebody who was an account first.
    okta.create("/Users", account("early", "early@acme.example")).await;
    eventually("an employee of its own", || async {
        let found = statuses("early@acme.example");
        if found == "ACTIVE" { Ok(()) } else { Err(json!(found)) }
    })
    .await;
    vendor
        .server
        .set_field(person, "workEmail", "early@acme.example")
        .expect("set");
    let body = json!({"type": "employee.updated", "timestamp": "2026-01-31T18:42:00+0000",
        "data": {"companyId": "1", "employeeId": person.to_string(), "changedFields": ["workEmail"]}});
    let (status, _) = tenure.webhook(&connected, "application/json", &body.to_string()).await;
    assert_eq!(status, 202);
    eventually("both", || async {
        let found = statuses("early@acme.example");
        if found == "ACTIVE ACTIVE" {
            Ok(())
        } else {
            Err(json!(found))
        }
    })
    .await;
    let look = format!("/v1/connections/{}/accounts", connection["id"].as_str().expect("an id"));
    assert_eq!(tenure.post(&look, "admin", &[], Value::Null).await.0, 202);
    eventually("one of them", || async {
        let found = statuses("early@acme.example");
        if found == "ACTIVE DELETED" {
            Ok(())
        } else {
            Err(json!(found))
        }
    })
    .await;

    // An account that goes takes nobody with it; an employee who is erased takes the account along.
    assert_eq!(okta.sent(Method::DELETE, &path, &[], None).await.0, 204);
    settled(&tenure).await;
    assert_eq!(statuses(&known), "ACTIVE");
    let employee = sql(&data.0, "select employee from scim_resource where employee is not null");
    let to = format!("/v1/employees/{employee}/erase");
    let erase = json!({"on": today(), "basis": "asked for"});
    let (status, told) = tenure.post(&to, "admin", &[("idempotency-key", "erase")], erase).await;
    assert_eq!(status, 200, "{told:#}");
    assert_eq!(okta.get("/Users").await["totalResults"], 1, "the report alone");
    // Both of whom that person was.
    let erased = "select count(*) from employee where status = 'ERASED'";
    eventually("both are erased", || async {
        let found = sql(&data.0, erased);
        if found == "2" { Ok(()) } else { Err(json!(found)) }
    })
    .await;

    // An account that cannot be opened is passed over, and does not keep the task from ending.
    sql(&data.0, "update scim_resource set content = '\\x00', tell_again = true");
    let done = "select coalesce(done_at::text, '') from connection_task where task = 'accounts' and attempts = 0";
    let last = eventually("the task is free", || async {
        let found = sql(&data.0, done);
        if found.is_empty() { Err(json!(found)) } else { Ok(found) }
    })
    .await;
    assert_eq!(tenure.post(&look, "admin", &[], Value::Null).await.0, 202);
    eventually("the task is done again", || async {
        let found = sql(&data.0, done);
        if found.is_empty() || found == last {
            Err(json!(found))
        } else {
            Ok(())
        }
    })
    .await;
}

/// scim2-tester, a checker of SCIM servers, where Python packages may be fetched (in CI).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_checker_finds_nothing() {
    if std::env::var_os("TENURE_TEST_SCIM").is_none() {
        eprintln!("scim: the checker is not run (TENURE_TEST_SCIM is not set)");
        return;
    }
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let (checker, _) = Provider::connect(&tenure, "checker").await;
    let told = script(".ci/scim-check", &[&checker.url, &checker.token]);
    eprintln!("{}", told.lines().last().unwrap_or_default());
}
