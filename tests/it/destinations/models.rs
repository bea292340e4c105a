//! Odoo as its reference records it: models behind JSON-RPC, where every answer is 200, a login comes before all else and
//! a value that is not set is false.
//! <https://www.odoo.com/documentation/17.0/developer/howtos/web_services.html>

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};

use serde_json::{Map, Value, json};

use super::{Destination, OverHttp};
use crate::support::fake_http::{Act, FakeHttp, Request};

/// Who is let in, and the number that the login gives.
const DATABASE: &str = "contoso";
const USERNAME: &str = "api@contoso.example";
const PASSWORD: &str = "right-\"token\"";
const USER: u64 = 2;

/// The fields of a lead.
const FIELDS: [&str; 7] =
    ["name", "email_from", "priority", "expected_revenue", "color", "x_leadflow_key", "x_offer_key"];

/// A connector file: `odoo.yaml` of the catalogue, with a field for our keys.
pub(crate) struct Odoo;

impl Destination for Odoo {
    fn kind(&self) -> &'static str {
        "odoo"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        json!({"url": place, "database": DATABASE, "username": USERNAME,
            "password": if right { PASSWORD } else { "wrong-token" }, "key_field": "x_leadflow_key"})
    }

    fn entity(&self) -> &'static str {
        "crm.lead"
    }

    fn mark(&self) -> &'static str {
        "email_from"
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        let fields = json!({"name": "O'Neil & \"Söhne\" 名", "email_from": mark, "priority": "2",
            "expected_revenue": 12.5, "color": 7});
        fields.as_object().expect("an object").clone()
    }

    fn change(&self) -> Map<String, Value> {
        Map::from_iter([("name".to_owned(), json!("changed")), ("color".to_owned(), json!(8))])
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        Map::from_iter([("x_offer_key".to_owned(), json!(mark))])
    }

    fn absent(&self) -> &'static str {
        "999999999"
    }

    fn has_login(&self) -> bool {
        false
    }
}

impl OverHttp for Odoo {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<FakeHttp> = OnceLock::new();
        let running = RUNNING.get_or_init(|| {
            let leads = Mutex::default();
            FakeHttp::start(move |_, request| {
                if (request.method.as_str(), request.path.as_str()) != ("POST", "/jsonrpc") {
                    return Act::Answer(404, "{}");
                }
                let mut answer = match answer(&mut leads.lock().expect("lock"), request) {
                    Ok(result) => json!({ "result": result }),
                    Err(error) => json!({ "error": error }),
                };
                answer["jsonrpc"] = json!("2.0");
                answer["id"] = request.json()["id"].clone();
                Act::Say(200, answer.to_string())
            })
        });
        running.address
    }

    /// The login.
    fn asked_before(&self) -> usize {
        1
    }
}

/// Leads, of which the id is the place in the list, from 1.
type Leads = Vec<Map<String, Value>>;

/// A result, or an error.
type Answered = Result<Value, Value>;

fn error(name: &str, message: &str) -> Value {
    json!({"code": 200, "message": "Odoo Server Error",
        "data": {"name": name, "message": message, "arguments": [message], "debug": "Traceback", "context": {}}})
}

fn answer(leads: &mut Leads, request: &Request) -> Answered {
    let asked = request.json();
    assert_eq!((&asked["jsonrpc"], &asked["method"]), (&json!("2.0"), &json!("call")));
    let args = asked["params"]["args"].as_array().expect("arguments");
    match (asked["params"]["service"].as_str(), asked["params"]["method"].as_str(), args.as_slice()) {
        (Some("common"), Some("authenticate"), [database, username, password, agent]) => {
            assert!(agent.is_object(), "who asks");
            let is_let_in = database == DATABASE && username == USERNAME && password == PASSWORD;
            Ok(if is_let_in { json!(USER) } else { json!(false) })
        }
        (Some("object"), Some("execute_kw"), [database, user, password, model, method, args, named @ ..]) => {
            if database != DATABASE || *user != json!(USER) || password != PASSWORD {
                return Err(error("odoo.exceptions.AccessDenied", "Access Denied"));
            }
            if model != "crm.lead" {
                return Err(error("builtins.KeyError", "no such model"));
            }
            let args = args.as_array().expect("arguments");
            execute(leads, method.as_str().expect("a method"), args, named.first().unwrap_or(&Value::Null))
        }
        _ => Err(error("builtins.TypeError", "no such method")),
    }
}

fn execute(leads: &mut Leads, method: &str, args: &[Value], named: &Value) -> Answered {
    match (method, args) {
        ("create", [fields]) => {
            let fields = known(fields)?;
            if fields.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(error("odoo.exceptions.ValidationError", "Missing required value for the field 'name'"));
            }
            leads.push(fields);
            Ok(json!(leads.len()))
        }
        ("write", [ids, fields]) => {
            let (places, fields) = (places(ids), known(fields)?);
            if places.iter().any(|at| *at >= leads.len()) {
                return Err(error("odoo.exceptions.MissingError", "Record does not exist or has been deleted."));
            }
            for at in places {
                leads[at].extend(fields.clone());
            }
            Ok(json!(true))
        }
        // What is not there is left out.
        ("read", [ids]) => {
            let there = places(ids).into_iter().filter(|at| *at < leads.len());
            Ok(there.map(|at| told(leads, at, &Value::Null)).collect())
        }
        ("search", [domain]) => Ok(search(leads, domain, named)?.into_iter().map(|at| json!(at + 1)).collect()),
        ("search_read", [domain]) => {
            let found = search(leads, domain, named)?;
            Ok(found.into_iter().map(|at| told(leads, at, &named["fields"])).collect())
        }
        _ => Err(error("builtins.AttributeError", "no such method")),
    }
}

/// Ids are numbers: a text is none.
fn places(ids: &Value) -> Vec<usize> {
    let id = |id: &Value| usize::try_from(id.as_u64().expect("a number")).expect("a small number") - 1;
    ids.as_array().expect("ids").iter().map(id).collect()
}

fn known(fields: &Value) -> Result<Map<String, Value>, Value> {
    let fields = fields.as_object().expect("fields");
    match fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        Some(name) => Err(error("builtins.ValueError", &format!("Invalid field '{name}' on model 'crm.lead'"))),
        None => Ok(fields.clone()),
    }
}

/// A value as a search compares it and a client reads it.
fn value(lead: &Map<String, Value>, name: &str) -> Value {
    lead.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(json!(false))
}

/// `fields`: which ones; all where it is none.
fn told(leads: &Leads, at: usize, fields: &Value) -> Value {
    let is_asked = |name: &&str| fields.as_array().is_none_or(|fields| fields.iter().any(|field| field == name));
    let told = FIELDS.iter().filter(|name| is_asked(name)).map(|name| ((*name).to_owned(), value(&leads[at], name)));
    told.chain([("id".to_owned(), json!(at + 1))]).collect()
}

/// The places of what a domain of conditions means, all of which hold.
fn search(leads: &Leads, domain: &Value, named: &Value) -> Result<Vec<usize>, Value> {
    let mut found: Vec<usize> = (0..leads.len()).collect();
    for condition in domain.as_array().expect("a domain") {
        let (field, operator, wanted) = (&condition[0], &condition[1], &condition[2]);
        assert_eq!(operator, "=", "the suite asks for nothing else");
        let field = field.as_str().expect("a field");
        if !FIELDS.contains(&field) {
            return Err(error("builtins.ValueError", &format!("Invalid field crm.lead.{field} in leaf")));
        }
        found.retain(|at| value(&leads[*at], field) == *wanted);
    }
    let number = |name: &str, otherwise: usize| {
        named[name].as_u64().map_or(otherwise, |number| usize::try_from(number).expect("a small number"))
    };
    Ok(found.into_iter().skip(number("offset", 0)).take(number("limit", usize::MAX)).collect())
}
