//! Pipedrive as its reference records it: persons behind API v2, which keeps of a record only the fields that it knows
//! and searches without regard to case.
//! <https://developers.pipedrive.com/docs/api/v1/Persons>

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};

use serde_json::{Map, Value, json};

use super::{Destination, OverHttp, fresh_mark};
use crate::support::fake_http::{Act, FakeHttp, Request};

/// What it takes for the right token.
const TOKEN: &str = "right-token";

/// The path of persons.
const PERSONS: &str = "/api/v2/persons";

/// A custom text field.
const KEY_FIELD: &str = "9dc80c50d78a15643bfc4ca79d76156a73a1ca0e";

/// The fields of a person that can be written.
const FIELDS: [&str; 4] = ["name", "emails", "phones", "custom_fields"];

/// What a search can look at.
const SEARCHED: [&str; 5] = ["name", "email", "phone", "notes", "custom_fields"];

/// A connector file: `pipedrive.yaml` of the catalogue, with a field for our keys.
pub(crate) struct Pipedrive;

impl Destination for Pipedrive {
    fn kind(&self) -> &'static str {
        "pipedrive"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        let token = if right { TOKEN } else { "wrong-token" };
        json!({"url": place, "key_field": KEY_FIELD, "auth": {"type": "api_key", "value": token}})
    }

    fn entity(&self) -> &'static str {
        "persons"
    }

    fn mark(&self) -> &'static str {
        "name"
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        let phone = json!([{"value": "+49 228 \"1\" & 名", "primary": true, "label": "work"}]);
        Map::from_iter([("name".to_owned(), json!(mark)), ("phones".to_owned(), phone)])
    }

    fn change(&self) -> Map<String, Value> {
        let email = json!([{"value": fresh(), "primary": true, "label": "work"}]);
        Map::from_iter([("emails".to_owned(), email)])
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        Map::from_iter([("email".to_owned(), json!(mark))])
    }

    fn absent(&self) -> &'static str {
        "999999999"
    }

    fn has_login(&self) -> bool {
        false
    }
}

/// The address that an update gives: the same each time it is asked for.
fn fresh() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(fresh_mark)
}

impl OverHttp for Pipedrive {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<FakeHttp> = OnceLock::new();
        let running = RUNNING.get_or_init(|| {
            let persons = Mutex::default();
            FakeHttp::start(move |_, request| {
                let (status, body) = answer(&mut persons.lock().expect("lock"), request);
                Act::Say(status, body.to_string())
            })
        });
        running.address
    }
}

/// Persons, of which the id is the place in the list, from 1.
type Persons = Vec<Map<String, Value>>;

type Answered = (u16, Value);

fn answer(persons: &mut Persons, request: &Request) -> Answered {
    if request.header("x-api-token") != Some(TOKEN) {
        let body = json!({"success": false, "error": "unauthorized access", "errorCode": 401,
            "error_info": "Please check developers.pipedrive.com"});
        return (401, body);
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(rest) = path.strip_prefix(PERSONS) else { return problem(404, "Unknown method.", "ERR_NOT_FOUND") };
    match (request.method.as_str(), rest) {
        ("POST", "") => create(persons, &request.json()),
        ("GET", "/search") => search(persons, &url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()),
        ("GET" | "PATCH", _) => {
            let id = rest.trim_start_matches('/').parse::<usize>().ok();
            let Some(at) = id.and_then(|id| id.checked_sub(1)).filter(|at| *at < persons.len()) else {
                return problem(404, "Person not found", "ERR_NOT_FOUND");
            };
            if request.method == "PATCH" {
                write(&mut persons[at], &request.json());
            }
            (200, json!({"success": true, "data": told(persons, at)}))
        }
        _ => problem(405, "Method not allowed", "ERR_METHOD_NOT_ALLOWED"),
    }
}

fn problem(status: u16, message: &str, code: &str) -> Answered {
    (status, json!({"success": false, "error": message, "code": code}))
}

fn told(persons: &Persons, at: usize) -> Value {
    let mut person = persons[at].clone();
    person.insert("id".to_owned(), json!(at + 1));
    person.insert("add_time".to_owned(), json!("2026-11-21T09:00:00Z"));
    Value::Object(person)
}

/// Custom fields that are not named stay as they are.
fn write(person: &mut Map<String, Value>, sent: &Value) {
    for (name, value) in sent.as_object().expect("fields").iter().filter(|(name, _)| FIELDS.contains(&name.as_str())) {
        match (person.get_mut(name), value) {
            (Some(Value::Object(custom)), Value::Object(sent)) => custom.extend(sent.clone()),
            _ => {
                person.insert(name.clone(), value.clone());
            }
        }
    }
}

fn create(persons: &mut Persons, sent: &Value) -> Answered {
    if sent["name"].as_str().is_none_or(str::is_empty) {
        return problem(400, "Validation failed: name: Required", "ERR_SCHEMA_VALIDATION_FAILED");
    }
    let empty = json!({"emails": [], "phones": [], "custom_fields": {KEY_FIELD: null}});
    let mut person = empty.as_object().expect("an object").clone();
    write(&mut person, sent);
    persons.push(person);
    (201, json!({"success": true, "data": told(persons, persons.len() - 1)}))
}

/// The texts of a person that a search in `field` looks at.
fn texts<'a>(person: &'a Map<String, Value>, field: &str) -> Vec<&'a str> {
    let values = |name: &str| person[name].as_array().expect("a list").iter().map(|one| &one["value"]);
    let found: Vec<&Value> = match field {
        "name" => vec![&person["name"]],
        "email" => values("emails").collect(),
        "phone" => values("phones").collect(),
        "custom_fields" => person["custom_fields"].as_object().expect("an object").values().collect(),
        _ => Vec::new(),
    };
    found.into_iter().filter_map(Value::as_str).collect()
}

fn search(persons: &Persons, query: &BTreeMap<String, String>) -> Answered {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    assert_eq!(get("exact_match"), "true", "what is searched for is meant");
    let (term, field) = (get("term").to_lowercase(), get("fields"));
    if term.is_empty() || !SEARCHED.contains(&field) {
        return problem(400, "Validation failed: fields", "ERR_SCHEMA_VALIDATION_FAILED");
    }
    let fits = |at: &usize| texts(&persons[*at], field).iter().any(|text| text.to_lowercase() == term);
    let limit = get("limit").parse().expect("a limit");
    let items = (0..persons.len()).filter(fits).take(limit).map(|at| {
        let person = &persons[at];
        let item = json!({"id": at + 1, "type": "person", "name": person["name"], "emails": texts(person, "email"),
            "phones": texts(person, "phone"), "custom_fields": texts(person, "custom_fields")});
        json!({"result_score": 0.29, "item": item})
    });
    let items: Vec<Value> = items.collect();
    (200, json!({"success": true, "data": {"items": items}, "additional_data": {"next_cursor": null}}))
}
