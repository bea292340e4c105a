//! The CRM of `HubSpot` as its reference records it: contacts behind the objects API v3, whose mail address no two share.
//! <https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide>

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};

use serde_json::{Map, Value, json};

use super::{Destination, OverHttp, Repeats, fresh_mark};
use crate::support::fake_http::{Act, FakeHttp, Request};

/// What it takes for the right token.
const TOKEN: &str = "right-token";

/// The path of contacts.
const CONTACTS: &str = "/crm/v3/objects/contacts";

/// The properties of which no two contacts have the same.
const UNIQUE: [&str; 2] = ["email", "offer_key"];

/// A connector file: `hubspot.yaml` of the catalogue.
pub(crate) struct HubSpot;

impl Destination for HubSpot {
    fn kind(&self) -> &'static str {
        "hubspot"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        json!({"url": place, "auth": {"type": "bearer", "token": if right { TOKEN } else { "wrong-token" }}})
    }

    fn entity(&self) -> &'static str {
        "contacts"
    }

    fn mark(&self) -> &'static str {
        "firstname"
    }

    fn unique(&self) -> Option<&'static str> {
        Some("email")
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        let fields =
            [("email", fresh_mark()), ("firstname", mark.into()), ("lastname", "O'Neil & \"Söhne\" 名".into())];
        fields.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
    }

    fn change(&self) -> Map<String, Value> {
        Map::from_iter([("lastname".to_owned(), json!("changed"))])
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        Map::from_iter([("offer_key".to_owned(), json!(mark))])
    }

    fn absent(&self) -> &'static str {
        "999999999"
    }

    fn repeats(&self) -> Repeats {
        Repeats::Refused
    }
}

impl OverHttp for HubSpot {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<FakeHttp> = OnceLock::new();
        let running = RUNNING.get_or_init(|| {
            let contacts = Mutex::default();
            FakeHttp::start(move |_, request| {
                let (status, body) = answer(&mut contacts.lock().expect("lock"), request);
                Act::Say(status, body.to_string())
            })
        });
        running.address
    }
}

/// Contacts, of which the id is the place in the list. Values are text, whatever they were sent as.
type Contacts = Vec<Map<String, Value>>;

type Answered = (u16, Value);

fn answer(contacts: &mut Contacts, request: &Request) -> Answered {
    if request.header("authorization") != Some("Bearer right-token") {
        return problem(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.");
    }
    if request.path == "/account-info/v3/details" {
        return (200, json!({"portalId": 146_425_426, "accountType": "STANDARD", "timeZone": "US/Eastern"}));
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(rest) = path.strip_prefix(CONTACTS) else { return problem(404, "OBJECT_NOT_FOUND", "resource not found") };
    match (request.method.as_str(), rest) {
        ("POST", "") => create(contacts, properties(&request.json()["properties"])),
        ("POST", "/search") => search(contacts, &request.json()),
        ("POST", "/batch/upsert") => upsert(contacts, &request.json()["inputs"][0]),
        ("GET" | "PATCH", _) => {
            let by = query.strip_prefix("idProperty=").filter(|by| !by.is_empty());
            let Some(at) = find(contacts, by, &decoded(rest.trim_start_matches('/'))) else {
                return problem(404, "OBJECT_NOT_FOUND", "resource not found");
            };
            if request.method == "GET" { (200, told(contacts, at)) } else { change(contacts, at, &request.json()) }
        }
        _ => problem(405, "METHOD_NOT_ALLOWED", "method not allowed"),
    }
}

fn problem(status: u16, category: &str, message: &str) -> Answered {
    (status, json!({"status": "error", "message": message, "category": category, "correlationId": "2dea5219"}))
}

fn told(contacts: &Contacts, at: usize) -> Value {
    let mut properties = contacts[at].clone();
    properties.insert("hs_object_id".to_owned(), json!(at.to_string()));
    json!({"id": at.to_string(), "properties": properties, "createdAt": "2026-11-21T09:00:00.000Z", "archived": false})
}

fn properties(sent: &Value) -> Map<String, Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let sent = sent.as_object().expect("properties");
    sent.iter().map(|(name, value)| (name.clone(), json!(text(value)))).collect()
}

/// Who else has a unique property of these.
fn taken(contacts: &Contacts, sent: &Map<String, Value>, own: Option<usize>) -> Option<Answered> {
    let same = |contact: &Map<String, Value>| {
        UNIQUE.iter().any(|name| sent.contains_key(*name) && sent.get(*name) == contact.get(*name))
    };
    let at = (0..contacts.len()).find(|at| Some(*at) != own && same(&contacts[*at]))?;
    Some(problem(409, "CONFLICT", &format!("Contact already exists. Existing ID: {at}")))
}

fn create(contacts: &mut Contacts, sent: Map<String, Value>) -> Answered {
    if let Some(conflict) = taken(contacts, &sent, None) {
        return conflict;
    }
    contacts.push(sent);
    (201, told(contacts, contacts.len() - 1))
}

fn change(contacts: &mut Contacts, at: usize, body: &Value) -> Answered {
    let sent = properties(&body["properties"]);
    if let Some(conflict) = taken(contacts, &sent, Some(at)) {
        return conflict;
    }
    contacts[at].extend(sent);
    (200, told(contacts, at))
}

fn upsert(contacts: &mut Contacts, input: &Value) -> Answered {
    let at = find(contacts, input["idProperty"].as_str(), input["id"].as_str().expect("an id"));
    let (status, mut result) = match at {
        Some(at) => change(contacts, at, input),
        None => create(contacts, properties(&input["properties"])),
    };
    if status == 409 {
        return (status, result);
    }
    result["new"] = json!(at.is_none());
    (if at.is_none() { 201 } else { 200 }, json!({"status": "COMPLETE", "results": [result]}))
}

fn search(contacts: &Contacts, body: &Value) -> Answered {
    let filters = body["filterGroups"][0]["filters"].as_array().expect("filters");
    let fits = |contact: &Map<String, Value>| {
        filters.iter().all(|filter| {
            assert_eq!(filter["operator"], "EQ", "the suite asks for nothing else");
            contact.get(filter["propertyName"].as_str().expect("a name")) == Some(&filter["value"])
        })
    };
    let found = (0..contacts.len()).filter(|at| fits(&contacts[*at]));
    let results: Vec<Value> = found.map(|at| told(contacts, at)).collect();
    (200, json!({"total": results.len(), "results": results}))
}

fn find(contacts: &Contacts, by: Option<&str>, value: &str) -> Option<usize> {
    match by {
        Some(by) => contacts.iter().position(|contact| contact.get(by).is_some_and(|found| found == value)),
        None => value.parse().ok().filter(|at| *at < contacts.len()),
    }
}

/// `%41` is `A`.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, others @ ..] = rest {
        let code = std::str::from_utf8(others.get(..2).unwrap_or_default()).unwrap_or_default();
        match u8::from_str_radix(code, 16) {
            Ok(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &others[2..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
