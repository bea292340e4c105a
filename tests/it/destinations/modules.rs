//! Zoho CRM as its reference records it: leads behind API v6, each answer a list of one with its own verdict, searches
//! by criteria, and a token endpoint that refuses with 200.
//! <https://www.zoho.com/crm/developer/docs/api/v6/insert-records.html>

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};

use serde_json::{Map, Value, json};

use super::{Destination, OverHttp};
use crate::support::fake_http::{Act, FakeHttp, Request};

/// The refresh token that gets an access token, and that access token.
const REFRESH: &str = "right-token";
const ACCESS: &str = "access-token";

/// The path of leads.
const LEADS: &str = "/crm/v6/Leads";

/// The fields that allow no duplicates.
const UNIQUE: [&str; 2] = ["Leadflow_Key", "Offer_Key"];

/// A connector file: `zoho.yaml` of the catalogue, with a field for our keys.
pub(crate) struct Zoho;

impl Destination for Zoho {
    fn kind(&self) -> &'static str {
        "zoho"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        let auth = json!({"type": "oauth2_refresh_token", "token_url": format!("{}/oauth/v2/token", self.web()),
            "client_id": "1000.LEADFLOW", "client_secret": "s3cret",
            "refresh_token": if right { REFRESH } else { "wrong-token" }});
        json!({"url": place, "key_field": "Leadflow_Key", "auth": auth})
    }

    fn entity(&self) -> &'static str {
        "Leads"
    }

    fn mark(&self) -> &'static str {
        "Email"
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        let fields = json!({"Last_Name": "O'Neil & \"Söhne\" 名", "Email": mark, "No_of_Employees": 8,
            "Annual_Revenue": 12.5, "Email_Opt_Out": true});
        fields.as_object().expect("an object").clone()
    }

    fn change(&self) -> Map<String, Value> {
        Map::from_iter([("Last_Name".to_owned(), json!("changed")), ("No_of_Employees".to_owned(), json!(9))])
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        Map::from_iter([("Offer_Key".to_owned(), json!(mark))])
    }

    fn absent(&self) -> &'static str {
        "3652397000999999999"
    }

    fn has_login(&self) -> bool {
        false
    }
}

impl OverHttp for Zoho {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<FakeHttp> = OnceLock::new();
        let running = RUNNING.get_or_init(|| {
            let leads = Mutex::default();
            FakeHttp::start(move |_, request| {
                let (status, body) = answer(&mut leads.lock().expect("lock"), request);
                Act::Say(status, if body.is_null() { String::new() } else { body.to_string() })
            })
        });
        running.address
    }
}

/// Leads, of which the id is the place in the list behind [`id`].
type Leads = Vec<Map<String, Value>>;

/// No body is null.
type Answered = (u16, Value);

const FIRST_ID: usize = 3_652_397_000_003_852_095;

fn id(at: usize) -> String {
    (FIRST_ID + at).to_string()
}

fn answer(leads: &mut Leads, request: &Request) -> Answered {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if path == "/oauth/v2/token" {
        return token(&form(&request.body));
    }
    if request.header("authorization").and_then(|shown| shown.strip_prefix("Bearer ")) != Some(ACCESS) {
        return whole(401, "INVALID_TOKEN", "invalid oauth token");
    }
    let Some(rest) = path.strip_prefix(LEADS) else {
        return whole(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one");
    };
    let at = rest.trim_start_matches('/').parse().ok().and_then(|id: usize| id.checked_sub(FIRST_ID));
    let at = at.filter(|at| *at < leads.len());
    match (request.method.as_str(), rest) {
        ("POST", "") => insert(leads, &request.json()["data"][0]),
        ("POST", "/upsert") => upsert(leads, &request.json()),
        ("GET", "/search") => search(leads, &form(query.as_bytes())),
        ("GET", _) => at.map_or((204, Value::Null), |at| (200, json!({"data": [told(leads, at)]}))),
        ("PUT", _) => match at {
            Some(at) => update(leads, at, &request.json()["data"][0]),
            None => one(400, "INVALID_DATA", &json!({"api_name": "id"}), "the id given seems to be invalid"),
        },
        _ => whole(405, "INVALID_REQUEST_METHOD", "The http request method type is not a valid one"),
    }
}

fn form(text: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

/// A refusal is a success with an error in it.
fn token(asked: &BTreeMap<String, String>) -> Answered {
    let get = |name: &str| asked.get(name).map_or("", String::as_str);
    assert_eq!(get("grant_type"), "refresh_token", "the only grant of the connector");
    if get("client_id") != "1000.LEADFLOW" || get("client_secret") != "s3cret" {
        return (200, json!({"error": "invalid_client"}));
    }
    if get("refresh_token") != REFRESH {
        return (200, json!({"error": "invalid_code"}));
    }
    (
        200,
        json!({"access_token": ACCESS, "api_domain": "https://www.zohoapis.com", "token_type": "Bearer",
        "expires_in": 3600}),
    )
}

/// A refusal of the whole request.
fn whole(status: u16, code: &str, message: &str) -> Answered {
    (status, json!({"code": code, "details": {}, "message": message, "status": "error"}))
}

/// What became of the one record.
fn one(status: u16, code: &str, details: &Value, message: &str) -> Answered {
    let verdict = if code == "SUCCESS" { "success" } else { "error" };
    (status, json!({"data": [{"code": code, "details": details, "message": message, "status": verdict}]}))
}

fn told(leads: &Leads, at: usize) -> Value {
    let mut lead = leads[at].clone();
    lead.insert("id".to_owned(), json!(id(at)));
    lead.insert("$approved".to_owned(), json!(true));
    Value::Object(lead)
}

/// The field and the record that has its value already.
fn taken(leads: &Leads, sent: &Map<String, Value>, own: Option<usize>) -> Option<Answered> {
    let holder = |name: &&str| {
        let value = sent.get(*name)?;
        (0..leads.len()).find(|at| Some(*at) != own && leads[*at].get(*name) == Some(value))
    };
    let (name, at) = UNIQUE.iter().find_map(|name| Some((name, holder(name)?)))?;
    let details = json!({"api_name": name, "json_path": format!("$.data[0].{name}"), "id": id(at)});
    Some(one(202, "DUPLICATE_DATA", &details, "duplicate data"))
}

fn done(status: u16, at: usize, message: &str) -> Answered {
    let details = json!({"id": id(at), "Created_Time": "2026-11-21T09:00:00+01:00",
        "Modified_Time": "2026-11-21T09:00:00+01:00"});
    one(status, "SUCCESS", &details, message)
}

fn insert(leads: &mut Leads, sent: &Value) -> Answered {
    let sent = sent.as_object().expect("a record");
    if !sent.contains_key("Last_Name") {
        let details = json!({"api_name": "Last_Name", "json_path": "$.data[0].Last_Name"});
        return one(202, "MANDATORY_NOT_FOUND", &details, "required field not found");
    }
    if let Some(duplicate) = taken(leads, sent, None) {
        return duplicate;
    }
    leads.push(sent.clone());
    done(201, leads.len() - 1, "record added")
}

fn update(leads: &mut Leads, at: usize, sent: &Value) -> Answered {
    let sent = sent.as_object().expect("a record");
    if let Some(duplicate) = taken(leads, sent, Some(at)) {
        return duplicate;
    }
    leads[at].extend(sent.clone());
    done(200, at, "record updated")
}

/// The first field of those to check that a record has decides.
fn upsert(leads: &mut Leads, body: &Value) -> Answered {
    let sent = &body["data"][0];
    let checked = body["duplicate_check_fields"].as_array().expect("fields").iter().filter_map(Value::as_str);
    let met = |name: &str| leads.iter().position(|lead| sent.get(name).is_some() && lead.get(name) == sent.get(name));
    let (at, field) = checked.into_iter().find_map(|name| Some((met(name)?, name))).unzip();
    let (status, mut answer) = match at {
        Some(at) => update(leads, at, sent),
        None => insert(leads, sent),
    };
    if answer["data"][0]["status"] == "success" {
        answer["data"][0]["action"] = json!(if at.is_some() { "update" } else { "insert" });
        answer["data"][0]["duplicate_field"] = json!(field);
    }
    (if status == 201 { 200 } else { status }, answer)
}

fn search(leads: &Leads, query: &BTreeMap<String, String>) -> Answered {
    let get = |name: &str| query.get(name).map(String::as_str);
    let criteria: Vec<char> = get("criteria").expect("criteria").chars().collect();
    let mut rest = criteria.as_slice();
    let condition = Condition::read(&mut rest).filter(|_| rest.is_empty());
    let Some(condition) = condition else { return whole(400, "INVALID_QUERY", "invalid query formed") };
    let number = |name: &str, otherwise| get(name).map_or(otherwise, |number| number.parse().expect("a number"));
    let (limit, page): (usize, usize) = (number("per_page", 200), number("page", 1));
    let fields: Vec<&str> = get("fields").map(|fields| fields.split(',').collect()).unwrap_or_default();
    let found = (0..leads.len()).filter(|at| condition.holds(&leads[*at])).skip((page - 1) * limit);
    let found = found.map(|at| {
        let Value::Object(mut lead) = told(leads, at) else { unreachable!("told as an object") };
        lead.retain(|name, _| name == "id" || fields.is_empty() || fields.contains(&name.as_str()));
        Value::Object(lead)
    });
    let mut found: Vec<Value> = found.collect();
    if found.is_empty() {
        return (204, Value::Null);
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let info = json!({"per_page": limit, "count": found.len(), "page": page, "more_records": more});
    (200, json!({"data": found, "info": info}))
}

/// What a search asks for: `(Email:equals:a@b.example)`, several of them with `and` and `or`, all in parentheses.
enum Condition {
    Equals(String, String),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    /// Reads as much of `rest` as is a condition.
    fn read(rest: &mut &[char]) -> Option<Self> {
        let mut read = vec![Self::group(rest)?];
        let mut words = Vec::new();
        while let Some(word) =
            ["and", "or"].into_iter().find(|word| word.chars().eq(rest.iter().copied().take(word.len())))
        {
            *rest = &rest[word.len()..];
            words.push(word);
            read.push(Self::group(rest)?);
        }
        match words.first() {
            None => read.pop(),
            Some(first) if words.iter().any(|word| word != first) => None,
            Some(&"and") => Some(Self::All(read)),
            Some(_) => Some(Self::Any(read)),
        }
    }

    fn group(rest: &mut &[char]) -> Option<Self> {
        *rest = rest.strip_prefix(&['('])?;
        let read = if rest.first() == Some(&'(') { Self::read(rest)? } else { Self::equals(rest)? };
        *rest = rest.strip_prefix(&[')'])?;
        Some(read)
    }

    /// A backslash goes before what would end a value.
    fn equals(rest: &mut &[char]) -> Option<Self> {
        let mut parts = vec![String::new()];
        loop {
            let (next, behind) = rest.split_first()?;
            match next {
                ')' | '(' | ',' => break,
                ':' if parts.len() < 3 => parts.push(String::new()),
                '\\' => {
                    let (escaped, behind) = behind.split_first()?;
                    parts.last_mut()?.push(*escaped);
                    *rest = behind;
                    continue;
                }
                other => parts.last_mut()?.push(*other),
            }
            *rest = behind;
        }
        let [field, comparator, value]: [String; 3] = parts.try_into().ok()?;
        (comparator == "equals").then_some(Self::Equals(field, value))
    }

    fn holds(&self, lead: &Map<String, Value>) -> bool {
        match self {
            Self::Equals(field, value) => lead.get(field).is_some_and(|found| found == value),
            Self::All(all) => all.iter().all(|one| one.holds(lead)),
            Self::Any(any) => any.iter().any(|one| one.holds(lead)),
        }
    }
}
