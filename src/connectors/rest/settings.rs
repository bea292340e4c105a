//! The settings of one connection of a connector file: their schema for the linter, and from what leadflow.yaml says to
//! what templates see.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::format::{SettingFile, SettingKind};
use super::plan::Plan;
use crate::connectors::declared;
use crate::outbound::http::{Credentials, Origin, StandIns};
use crate::schema::types::accepts;
use crate::secret::Secret;
use crate::template::{Limits, Scope, text_of};

/// The schemas of all kinds of credentials, each with its `type`.
static CREDENTIALS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let schema = declared::<Credentials>().to_value();
    let variants = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array).cloned();
    let tag = |variant: &Value| Some(variant.pointer("/properties/type/const")?.as_str()?.to_owned());
    variants.into_iter().flatten().filter_map(|variant| Some((tag(&variant)?, variant))).collect()
});

/// Where the requests of a dry run go whose URL is not known.
const UNSET_URL: &str = "https://unset.invalid";

/// Whether a reference to a variable or file that is not there stands in `text`: only `check` and dry runs leave one.
fn is_unset(text: &str) -> bool {
    text.contains("${env:") || text.contains("${file:")
}

/// The kinds of credentials that there are.
pub(super) fn auth_types() -> Vec<String> {
    CREDENTIALS.iter().map(|(kind, _)| kind.clone()).collect()
}

/// The schema of a connection's own keys, closed.
pub(super) fn schema(plan: &Plan) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, setting) in &plan.settings {
        properties.insert(name.clone(), schema_of(setting));
        if setting.required {
            required.push(json!(name));
        }
    }
    if !plan.auth.is_empty() {
        properties.insert("auth".into(), auth_schema(plan));
        if !plan.auth.contains_key("none") {
            required.push(json!("auth"));
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
    schema
}

fn schema_of(setting: &SettingFile) -> Value {
    let mut schema = match setting.kind {
        SettingKind::Text => json!({ "type": "string" }),
        SettingKind::Secret => json!({ "type": "string", "writeOnly": true, "x-secret": true }),
        SettingKind::Url => json!({ "type": "string", "x-unit": "url" }),
        SettingKind::Number => json!({ "type": "number" }),
        SettingKind::Integer => json!({ "type": "integer" }),
        SettingKind::Boolean => json!({ "type": "boolean" }),
    };
    schema["description"] = json!(setting.description);
    if let Some(default) = setting.default.as_ref().filter(|default| !default.is_null()) {
        schema["default"] = default.clone();
    }
    if let Some(values) = &setting.one_of {
        schema["enum"] = json!(values);
    }
    schema
}

/// The kinds of credentials that the file takes; what it has a default for need not be given.
fn auth_schema(plan: &Plan) -> Value {
    let variants = CREDENTIALS.iter().filter_map(|(kind, schema)| {
        let defaults = plan.auth.get(kind)?;
        let mut schema = schema.clone();
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|key| !defaults.iter().any(|(given, _)| key == given));
        }
        let either = schema.get("x-one-of").and_then(Value::as_array);
        let is_given = either.is_some_and(|keys| defaults.iter().any(|(given, _)| keys.iter().any(|key| key == given)));
        if is_given && let Some(schema) = schema.as_object_mut() {
            schema.remove("x-one-of");
        }
        Some(schema)
    });
    let variants: Vec<Value> = variants.collect();
    json!({ "description": "Credentials.", "oneOf": variants })
}

/// A connection's settings, ready to be spoken by.
#[derive(Debug)]
pub(super) struct Ready {
    /// What templates see as `settings`: stand-ins in the place of secrets.
    pub seen: Value,
    /// The stand-ins.
    pub stand_ins: StandIns,
    /// Where requests go, and what goes with each.
    pub origin: Origin,
    /// Whether the base URL holds a secret.
    pub is_base_secret: bool,
    /// Whether there are credentials.
    pub authenticated: bool,
}

impl Ready {
    /// Reads `given`, a connection of leadflow.yaml without the common keys. The error names the key, never its value.
    /// `lenient_auth`: missing credentials are none, as in tests of the file.
    pub(super) fn new(plan: &Plan, given: &Value, lenient_auth: bool) -> Result<Self, String> {
        let real = Value::Object(values(plan, given)?);
        let secrets: Vec<(String, Secret)> = plan
            .settings
            .iter()
            .filter(|(_, setting)| setting.kind == SettingKind::Secret)
            .filter_map(|(name, _)| Some((name.clone(), Secret::new(real.get(name)?.as_str()?))))
            .collect();
        let names: Vec<String> = secrets.iter().map(|(name, _)| name.clone()).collect();
        let stand_ins = StandIns::new(secrets)?;
        let mut seen = real.clone();
        for (name, stand_in) in names.iter().zip(stand_ins.names()) {
            seen[name] = json!(stand_in);
        }
        let base_url = text(plan.base_url.as_ref(), &real, "base_url")?;
        let is_base_secret = text(plan.base_url.as_ref(), &seen, "base_url")? != base_url;
        let base_url = if is_unset(&base_url) { UNSET_URL.to_owned() } else { base_url };
        let auth = credentials(plan, given.get("auth"), &real, lenient_auth)?;
        let authenticated = !matches!(auth, Credentials::None);
        let headers = headers(plan, &seen, &stand_ins)?;
        let origin = Origin { base_url: Some(base_url), headers, auth, ..Origin::default() };
        Ok(Self { seen, stand_ins, origin, is_base_secret, authenticated })
    }
}

/// Headers of every request. They may be shown, so that no secret may stand in them.
fn headers(plan: &Plan, seen: &Value, stand_ins: &StandIns) -> Result<Vec<(String, String)>, String> {
    let values = json!({ "settings": seen });
    let header = |(name, shape): &(String, super::shape::Shape)| {
        let value = shape.render(&Scope::of_connector(&values, 0, Limits::default()));
        let value = value.map_err(|error| format!("header `{name}`: {error}"))?;
        let text = text_of(&value).map_err(|error| format!("header `{name}`: {error}"))?.into_owned();
        if stand_ins.hide(&text) != text {
            return Err(format!("header `{name}` holds a secret: it belongs under `auth`, as api_key"));
        }
        Ok((name.clone(), text))
    };
    plan.headers.iter().map(header).collect()
}

/// The settings with their defaults.
fn values(plan: &Plan, given: &Value) -> Result<Map<String, Value>, String> {
    let none = Map::new();
    let given = given.as_object().unwrap_or(&none);
    if let Some(key) = given.keys().find(|key| *key != "auth" && !plan.settings.contains_key(*key)) {
        return Err(format!("there is no key `{key}`"));
    }
    let mut values = Map::new();
    for (name, setting) in &plan.settings {
        let own = given.get(name).filter(|value| !value.is_null());
        let value = own.or(setting.default.as_ref()).cloned().unwrap_or(Value::Null);
        if value.is_null() && setting.required {
            return Err(format!("`{name}` is missing"));
        }
        if !value.is_null() && !accepts(&schema_of(setting), &value) {
            return Err(format!("`{name}` cannot be read"));
        }
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// What the connection says under `auth`, over what the file has for that type.
fn credentials(plan: &Plan, given: Option<&Value>, settings: &Value, lenient: bool) -> Result<Credentials, String> {
    let Some(given) = given.and_then(Value::as_object) else {
        let may_be_none = lenient || plan.auth.is_empty() || plan.auth.contains_key("none");
        return if may_be_none { Ok(Credentials::None) } else { Err("`auth` is missing".into()) };
    };
    let kind = given.get("type").and_then(Value::as_str).unwrap_or_default();
    let defaults = plan.auth.get(kind).ok_or_else(|| {
        let known: Vec<&str> = plan.auth.keys().map(String::as_str).collect();
        format!("`auth.type` must be one of: {}", known.join(", "))
    })?;
    let mut whole = Map::new();
    for (key, shape) in defaults {
        let values = json!({ "settings": settings });
        let value = shape.render(&Scope::of_connector(&values, 0, Limits::default()));
        whole.insert(key.clone(), value.map_err(|error| format!("`auth.{key}`: {error}"))?);
    }
    whole.extend(given.clone());
    crate::connectors::read::<Credentials>(&Value::Object(whole)).map_err(|error| format!("`auth`: {error}"))
}

fn text(template: Option<&crate::template::Template>, settings: &Value, key: &str) -> Result<String, String> {
    let template = template.ok_or_else(|| format!("`{key}` cannot be read"))?;
    let values = json!({ "settings": settings });
    let value = template.render(&Scope::of_connector(&values, 0, Limits::default()));
    let value = value.map_err(|error| format!("`{key}`: {error}"))?;
    Ok(text_of(&value).map_err(|error| format!("`{key}`: {error}"))?.trim().to_owned())
}
