//! What identity providers send: the first byte says whether it is a filter, a path, a resource or changes to one.
#![no_main]

use command_service::scim::{
    filter::{Filter, Target},
    patch,
    schema::{Object, ResourceType},
    translate::{Account, Manager},
    value,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn known() -> Object {
    let known = json!({"userName": "ada", "name": {"givenName": "Ada"}, "emails": [{"type": "work", "value": "ada@acme.example"}],
        "urn:ietf:params:scim:schemas:extension:tenure:2.0:User": {"startDate": "2026-01-07"}});
    value::read(ResourceType::User, &known).expect("a resource")
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let of = ResourceType::ALL[usize::from(first >> 7)];
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    if first % 4 == 0 {
        if let Ok(filter) = Filter::parse(of, text) {
            let _ = filter.fits(&known());
            let _ = filter.as_value();
        }
        return;
    }
    if first % 4 == 1 {
        drop(Target::parse(of, text));
        return;
    }
    let Ok(sent) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let read = match first % 4 {
        2 => value::read(of, &sent),
        _ => patch::apply(ResourceType::User, &known(), &sent),
    };
    let Ok(resource) = read else { return };
    let again = value::read(of, &Value::Object(resource.clone()));
    if of == ResourceType::User {
        assert_eq!(again.as_ref(), Ok(&resource), "what is kept is read as it is kept");
    }
    if let Ok(account) = Account::told(None, resource, fuzz::today())
        && let Some(snapshot) = account.snapshot(fuzz::source("7"), Manager::Unknown, fuzz::today())
    {
        fuzz::believed(snapshot);
    }
});
