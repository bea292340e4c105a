//! The linter of `leadflow.yaml`: the merged document against the declarations, every finding at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::format;
use super::layers::Layers;
use super::references::References;
use super::words::{
    accepts_only_null, bad_address, bad_mailbox, bad_network, bad_url, is_secret, kind_word, resolve, show, tag_of,
};
use crate::connectors::Registry;
use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::flow::catalogue::ConnectorSpec;
use crate::schema::types::{accepts, types};
use crate::units;
use crate::yaml::{child, dotted};

/// What the linter learnt of values on its way: for printing them.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Values (JSON pointers) that their declaration calls secret.
    pub secrets: BTreeSet<String>,
    /// Values under keys of the user's own: parameters, headers.
    pub free: BTreeSet<String>,
    /// Values whose reference could not be followed, where the declaration takes any text.
    pub unknown_texts: BTreeSet<String>,
}

/// Checks `value` and turns texts that came from references into the numbers and booleans that are wanted.
pub(super) fn check(
    value: &mut Value,
    layers: &Layers,
    references: &References,
    registry: &Registry,
) -> (Vec<Diagnostic>, Marks) {
    let mut linter =
        Linter { layers, references, registry, findings: Vec::new(), marks: Marks::default(), root: Value::Null };
    let mut schema = format::schema_of::<format::File>();
    // The defaults fill in whatever the user does not say; connections are checked by their type below.
    schema.as_object_mut().and_then(|schema| schema.remove("required"));
    let connections = value.get_mut("connections").map(Value::take);
    linter.node("", value, &schema);
    if let Some(mut connections) = connections {
        linter.connections(&mut connections);
        if let Some(slot) = value.get_mut("connections") {
            *slot = connections;
        }
    }
    linter.admin_token(value);
    linter.store(value);
    (linter.findings, linter.marks)
}

struct Linter<'a> {
    layers: &'a Layers,
    references: &'a References,
    /// The kinds of connection there are.
    registry: &'a Registry,
    findings: Vec<Diagnostic>,
    marks: Marks,
    /// The schema whose `$defs` references point into.
    root: Value,
}

impl Linter<'_> {
    fn node(&mut self, pointer: &str, value: &mut Value, schema: &Value) {
        let schema = &resolve(schema, &self.root).into_owned();
        if value.is_null() {
            return;
        }
        if let Some(what) = schema.get("x-not-yet").and_then(Value::as_str) {
            return self.not_yet(pointer, what);
        }
        if is_secret(schema) {
            self.marks.secrets.insert(pointer.to_owned());
            self.literal_secret(pointer, value);
        }
        if self.references.unresolved.contains(pointer) {
            let kinds = types(schema);
            if kinds.is_empty() || kinds.contains(&"string") {
                self.marks.unknown_texts.insert(pointer.to_owned());
            }
            return;
        }
        if let Some(variants) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            let variants: Vec<Value> =
                variants.iter().map(|variant| resolve(variant, &self.root).into_owned()).collect();
            self.variants(pointer, value, &variants);
            if schema.get("properties").is_none() {
                return;
            }
        }
        self.coerce(pointer, value, schema);
        if !self.kind_fits(pointer, value, schema) {
            return;
        }
        self.choice(pointer, value, schema);
        self.unit(pointer, value, schema);
        self.range(pointer, value, schema);
        match value {
            Value::Object(entries) => self.object(pointer, entries, schema),
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.node(&child(pointer, &index.to_string()), item, schema);
                    }
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, pointer: &str, entries: &mut Map<String, Value>, schema: &Value) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let mut meant = Vec::new();
        for (key, value) in entries.iter_mut() {
            let at = child(pointer, key);
            match (properties.get(key), schema.get("additionalProperties")) {
                (Some(schema), _) => self.node(&at, value, schema),
                (None, Some(Value::Bool(false))) => {
                    let block =
                        if pointer.is_empty() { "leadflow.yaml".to_owned() } else { format!("`{}`", dotted(pointer)) };
                    meant.extend(self.unknown_key(&at, key, &block, properties.keys().map(String::as_str)));
                }
                (None, schema) => {
                    self.marks.free.insert(at.clone());
                    self.node(&at, value, schema.unwrap_or(&Value::Null));
                }
            }
        }
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            // One slip is one finding: a key that was misspelt is not missing as well.
            if entries.get(key).is_none_or(Value::is_null) && !meant.contains(&key) {
                self.missing_key(pointer, key);
            }
        }
        self.one_of(pointer, entries, schema, &meant);
    }

    /// Of the keys of `x-one-of`, exactly one stands there.
    fn one_of(&mut self, pointer: &str, entries: &Map<String, Value>, schema: &Value, meant: &[&str]) {
        let Some(keys) = schema.get("x-one-of").and_then(Value::as_array) else { return };
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        let given =
            keys.iter().filter(|key| meant.contains(key) || entries.get(**key).is_some_and(|value| !value.is_null()));
        let (code, message) = match given.count() {
            1 => return,
            0 => ("missing_key", format!("`{}` needs one of the keys `{}`", dotted(pointer), keys.join("`, `"))),
            _ => (
                "invalid_value",
                format!("`{}` has both `{}`: write one of them", dotted(pointer), keys.join("` and `")),
            ),
        };
        let finding = Diagnostic::new(code, self.layers.key_place(pointer), dotted(pointer), message);
        self.findings.push(finding);
    }

    /// Picks the variant by its tag first, so that one slip gives one finding.
    fn variants(&mut self, pointer: &str, value: &mut Value, variants: &[Value]) {
        let variants: Vec<&Value> = variants.iter().filter(|variant| !accepts_only_null(variant)).collect();
        if let [only] = variants[..] {
            return self.node(pointer, value, only);
        }
        let constants: Vec<&Value> = variants.iter().filter_map(|variant| variant.get("const")).collect();
        if constants.len() == variants.len() {
            let choice = serde_json::json!({ "enum": constants });
            return self.node(pointer, value, &choice);
        }
        if let Some(entries) = value.as_object() {
            let tags: Vec<(Vec<&str>, &Value)> =
                variants.iter().filter_map(|variant| Some((tag_of(variant)?, *variant))).collect();
            if !tags.is_empty() {
                return match entries.get("type").and_then(Value::as_str).map(str::to_owned) {
                    None => self.missing_key(pointer, "type"),
                    Some(tag) => match tags.iter().find(|(names, _)| names.contains(&tag.as_str())) {
                        Some((_, variant)) => self.node(pointer, value, variant),
                        None => self.unknown_tag(
                            &child(pointer, "type"),
                            &tag,
                            tags.iter().flat_map(|(names, _)| names.iter().copied()),
                        ),
                    },
                };
            }
        }
        if let Some(variant) = variants.iter().find(|variant| accepts(variant, value)) {
            return self.node(pointer, value, variant);
        }
        let kinds: Vec<&str> = variants.iter().flat_map(|variant| types(variant)).collect();
        self.wrong_type(pointer, value, &kinds);
    }

    fn unknown_tag<'t>(&mut self, pointer: &str, tag: &str, known: impl Iterator<Item = &'t str>) {
        let known: Vec<&str> = known.collect();
        self.wrong_value(pointer, tag, &known);
    }

    /// A text that came from a reference stands for the number or boolean that is wanted there.
    fn coerce(&mut self, pointer: &str, value: &mut Value, schema: &Value) {
        if !self.references.used.contains(pointer) {
            return;
        }
        let kinds = types(schema);
        let Value::String(text) = &*value else { return };
        if kinds.is_empty() || kinds.contains(&"string") {
            return;
        }
        if let Ok(parsed @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(text.trim()) {
            *value = parsed;
        }
    }

    fn kind_fits(&mut self, pointer: &str, value: &Value, schema: &Value) -> bool {
        let fits = accepts(schema, value);
        if !fits && !self.bare_number(pointer, value, schema) {
            self.wrong_type(pointer, value, &types(schema));
        }
        fits
    }

    /// A number where a text with a unit is wanted: quotes would not help, the unit does.
    fn bare_number(&mut self, pointer: &str, value: &Value, schema: &Value) -> bool {
        let unit = schema.get("x-unit").and_then(Value::as_str);
        let (Some(unit), Value::Number(number)) = (unit, value) else { return false };
        let (code, whole) = match unit {
            "duration" => ("bad_duration", format!("{number}s")),
            "rate" => ("bad_rate", format!("{number}/s")),
            "address" => ("bad_listen", format!("127.0.0.1:{number}")),
            _ => return false,
        };
        let message = format!("`{}` must be a text such as {whole}, this is a number", dotted(pointer));
        self.add(code, pointer, message, Some(format!("write  {whole}")));
        true
    }

    fn choice(&mut self, pointer: &str, value: &Value, schema: &Value) {
        let Some(choices) = schema.get("enum").and_then(Value::as_array) else {
            if let Some(constant) = schema.get("const").filter(|constant| *constant != value) {
                self.wrong_value(pointer, &show(value), &[&show(constant)]);
            }
            return;
        };
        let later = schema.get("x-not-yet-values").and_then(Value::as_array);
        if later.is_some_and(|later| later.contains(value)) {
            return self.not_yet_value(pointer, &show(value));
        }
        if !choices.contains(value) {
            let choices: Vec<String> = choices.iter().filter(|choice| !choice.is_null()).map(show).collect();
            let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
            self.wrong_value(pointer, &show(value), &choices);
        }
    }

    fn unit(&mut self, pointer: &str, value: &Value, schema: &Value) {
        let Some(unit) = schema.get("x-unit").and_then(Value::as_str) else { return };
        let text = show(value);
        let (code, fault, help) = match unit {
            "duration" => ("bad_duration", units::duration(&text).err(), "write it as 30s, 10m, 28d or PT30S"),
            "size" => ("bad_size", units::size(&text).err(), "write it as 64KiB, 1MiB or a number of bytes"),
            "rate" => ("bad_rate", units::rate(&text).err(), "write it as 20/s or 500/m"),
            "address" => ("bad_listen", bad_address(&text), "write an IP address and a port: 127.0.0.1:8080"),
            "network" => ("invalid_value", bad_network(&text), "write an address or a network: 10.0.0.0/8"),
            "url" => ("invalid_value", bad_url(&text), "write it whole: https://leads.contoso.com"),
            "mailbox" => {
                ("invalid_value", bad_mailbox(&text), "write  leads@contoso.com  or  Leads <leads@contoso.com>")
            }
            _ => return,
        };
        if let Some(fault) = fault {
            self.add(code, pointer, fault, Some(help.into()));
        }
    }

    fn range(&mut self, pointer: &str, value: &Value, schema: &Value) {
        let Some(number) = value.as_f64() else { return };
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let message = match (bound("minimum"), bound("maximum")) {
            (Some(min), _) if number < min => format!("{number} is too small: at least {min}"),
            (_, Some(max)) if number > max => format!("{number} is too large: at most {max}"),
            _ => return,
        };
        self.add("invalid_value", pointer, message, None);
    }

    fn connections(&mut self, value: &mut Value) {
        let Some(connections) = value.as_object_mut() else {
            if !value.is_null() {
                self.wrong_type("/connections", value, &["object"]);
            }
            return;
        };
        for (name, value) in connections {
            self.connection(&child("/connections", name), value);
        }
    }

    fn connection(&mut self, pointer: &str, value: &mut Value) {
        let Some(entries) = value.as_object_mut() else {
            return self.wrong_type(pointer, value, &["object"]);
        };
        let kind = match entries.get("type") {
            None | Some(Value::Null) => return self.missing_key(pointer, "type"),
            Some(Value::String(kind)) => kind.clone(),
            Some(other) => return self.wrong_type(&child(pointer, "type"), other, &["string"]),
        };
        if self.references.unresolved.contains(&child(pointer, "type")) {
            return;
        }
        let Some(spec) = self.registry.find(&kind).map(|connector| connector.spec().clone()) else {
            return self.unknown_connector(&child(pointer, "type"), &kind);
        };
        let (mut common, mut own) = split(entries, &spec);
        let common_schema = format::schema_of::<format::Common>();
        let own_schema = spec.settings.clone().to_value();
        if own_schema["additionalProperties"] == true {
            // Its connector file has errors: nobody knows which keys there are, nor which of them are secret.
            for (key, value) in &own {
                self.hide(&child(pointer, key), value);
            }
            return self.node(pointer, &mut common, &common_schema);
        }
        let keys = || keys_of(&common_schema).into_iter().chain(keys_of(&own_schema));
        let mut meant = Vec::new();
        own.retain(|key, _| {
            let known = keys().any(|known| known == *key);
            if !known {
                let block = format!("a connection of type {kind}");
                let all: Vec<String> = keys().collect();
                let near = self.unknown_key(&child(pointer, key), key, &block, all.iter().map(String::as_str));
                meant.extend(near.map(str::to_owned));
            }
            known
        });
        self.node(pointer, &mut common, &common_schema);
        let mut own = Value::Object(own);
        let mut own_schema = own_schema;
        if let Some(required) = own_schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|key| !meant.iter().any(|meant| key == meant.as_str()));
        }
        self.root.clone_from(&own_schema);
        self.node(pointer, &mut own, &own_schema);
        self.root = Value::Null;
        for (key, value) in common.as_object().into_iter().chain(own.as_object()).flatten() {
            entries.insert(key.clone(), value.clone());
        }
    }

    /// Marks every value at and below `pointer` as secret.
    fn hide(&mut self, pointer: &str, value: &Value) {
        self.marks.secrets.insert(pointer.to_owned());
        if let Value::Object(entries) = value {
            entries.iter().for_each(|(key, value)| self.hide(&child(pointer, key), value));
        }
    }

    fn unknown_connector(&mut self, pointer: &str, kind: &str) {
        let registry = self.registry;
        let known: Vec<&str> = registry.all().iter().map(|connector| connector.kind()).collect();
        let hint =
            nearest(kind, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("there is no connector `{kind}`{hint}");
        self.add("unknown_connector", pointer, message, Some(format!("connectors: {}", known.join(", "))));
    }

    fn admin_token(&mut self, value: &Value) {
        let Some(admin) = value.get("admin") else { return };
        let listen =
            admin.get("listen").and_then(Value::as_str).and_then(|text| text.parse::<std::net::SocketAddr>().ok());
        let blank = match admin.get("token") {
            None | Some(Value::Null) => true,
            Some(token) => token.as_str().is_some_and(|text| text.trim().is_empty()),
        };
        if blank && listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            let message = "the admin listener is not on loopback and has no token".to_owned();
            let help = "set `admin.token: ${env:LEADFLOW_ADMIN_TOKEN}`, or listen on 127.0.0.1".to_owned();
            self.add("admin_token_required", "/admin/listen", message, Some(help));
        }
    }

    fn store(&mut self, value: &Value) {
        let Some(store) = value.get("store") else { return };
        let is_postgres = store.get("type").and_then(Value::as_str) == Some("postgres");
        let given = |key: &str| store.get(key).filter(|value| !value.is_null());
        if !is_postgres {
            for key in ["url", "ca", "pool"].into_iter().filter(|key| given(key).is_some()) {
                let pointer = child("/store", key);
                let message = format!("`{}` belongs to `type: postgres`", dotted(&pointer));
                self.add("invalid_value", &pointer, message, Some("add `type: postgres`, or take it out".to_owned()));
            }
        } else if self.references.unresolved.contains("/store/url") {
            // Whoever needs it says so.
        } else if let Some(url) = given("url") {
            if let Some(fault) = url.as_str().and_then(crate::store::postgres::bad_url) {
                let message = format!("`store.url` cannot be used: {fault}");
                let help = "write  postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full".to_owned();
                self.add("invalid_value", "/store/url", message, Some(help));
            }
        } else {
            self.missing_key("/store", "url");
        }
    }

    fn literal_secret(&mut self, pointer: &str, value: &Value) {
        let written = match value {
            Value::String(text) => !text.is_empty(),
            _ => true,
        };
        if written && !self.references.used.contains(pointer) {
            let place = self.layers.value_place(pointer);
            let message = format!("`{}` is a secret written out", dotted(pointer));
            let finding = Diagnostic::new("literal_secret", place, dotted(pointer), message)
                .severity(Severity::Warning)
                .help("keep it outside this file: ${env:NAME} or ${file:PATH}");
            self.findings.push(finding);
        }
    }

    /// Tells of an unknown key; the answer is the one that was probably meant.
    fn unknown_key<'k>(
        &mut self,
        pointer: &str,
        key: &str,
        block: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> Option<&'k str> {
        let known: Vec<&'k str> = known.collect();
        let mut message = format!("{block} has no key `{key}`");
        let near = nearest(key, known.iter().copied());
        if let Some(near) = near {
            let _ = write!(message, "; did you mean `{near}`?");
        }
        let help =
            if known.is_empty() { "it has no keys of its own".into() } else { format!("keys: {}", known.join(", ")) };
        let finding =
            Diagnostic::new("unknown_key", self.layers.key_place(pointer), dotted(pointer), message).help(help);
        self.findings.push(finding);
        near
    }

    fn missing_key(&mut self, pointer: &str, key: &str) {
        let message = format!("`{}` needs the key `{key}`", dotted(pointer));
        let finding = Diagnostic::new("missing_key", self.layers.key_place(pointer), dotted(pointer), message);
        self.findings.push(finding);
    }

    fn wrong_type(&mut self, pointer: &str, value: &Value, wanted: &[&str]) {
        let mut words: Vec<&str> = wanted.iter().filter(|kind| **kind != "null").map(|kind| kind_word(kind)).collect();
        words.dedup();
        let message = format!(
            "`{}` must be {}, this is {}",
            dotted(pointer),
            words.join(" or "),
            if value.is_object() { "a map" } else { crate::template::kind_of(value) }
        );
        let help = (wanted.contains(&"string") && !value.is_object() && !value.is_array())
            .then(|| "put it in quotes".to_owned());
        self.add("wrong_type", pointer, message, help);
    }

    fn wrong_value(&mut self, pointer: &str, value: &str, choices: &[&str]) {
        let hint =
            nearest(value, choices.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("`{}` cannot be `{value}`{hint}", dotted(pointer));
        self.add("invalid_value", pointer, message, Some(format!("one of: {}", choices.join(", "))));
    }

    fn not_yet(&mut self, pointer: &str, what: &str) {
        let message = format!("`{}` comes with a later version ({what})", dotted(pointer));
        let finding = Diagnostic::new("not_yet", self.layers.key_place(pointer), dotted(pointer), message)
            .help("take it out for now");
        self.findings.push(finding);
    }

    fn not_yet_value(&mut self, pointer: &str, value: &str) {
        let message = format!("`{}: {value}` comes with a later version", dotted(pointer));
        self.add("not_yet", pointer, message, None);
    }

    fn add(&mut self, code: &'static str, pointer: &str, message: String, help: Option<String>) {
        let mut finding = Diagnostic::new(code, self.layers.value_place(pointer), dotted(pointer), message);
        finding.help = help;
        self.findings.push(finding);
    }
}

/// A connection's common keys and its own.
fn split(entries: &Map<String, Value>, spec: &ConnectorSpec) -> (Value, Map<String, Value>) {
    let common = keys_of(&format::schema_of::<format::Common>());
    let own = keys_of(&spec.settings.clone().to_value());
    let is_common = |key: &String| common.contains(key) && !own.contains(key);
    let (shared, rest): (Vec<_>, Vec<_>) = entries.clone().into_iter().partition(|(key, _)| is_common(key));
    (Value::Object(shared.into_iter().collect()), rest.into_iter().collect())
}

fn keys_of(schema: &Value) -> Vec<String> {
    schema.get("properties").and_then(Value::as_object).map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
}
