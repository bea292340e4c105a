//! What the linter of settings reads out of schemas and texts: kinds, tags, and what is wrong with one text.

use serde_json::Value;

/// Follows `$ref` into the `$defs` of `root`; keywords beside it (`x-not-yet`, `x-secret`) are kept.
pub(super) fn resolve<'s>(schema: &'s Value, root: &'s Value) -> std::borrow::Cow<'s, Value> {
    let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) else {
        return std::borrow::Cow::Borrowed(schema);
    };
    let Some(Value::Object(target)) = root.pointer(pointer) else { return std::borrow::Cow::Borrowed(schema) };
    let mut joined = target.clone();
    for (key, value) in schema.as_object().into_iter().flatten().filter(|(key, _)| *key != "$ref") {
        joined.insert(key.clone(), value.clone());
    }
    std::borrow::Cow::Owned(Value::Object(joined))
}

/// Whether the schema, or the one alternative to null in it, is of a secret.
pub(super) fn is_secret(schema: &Value) -> bool {
    let flagged = |schema: &Value| schema.get("x-secret").and_then(Value::as_bool).unwrap_or(false);
    flagged(schema)
        || schema.get("anyOf").and_then(Value::as_array).is_some_and(|variants| {
            variants.len() == 2 && variants.iter().any(accepts_only_null) && variants.iter().any(flagged)
        })
}

pub(super) fn accepts_only_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

pub(super) fn tag_of(schema: &Value) -> Option<Vec<&str>> {
    let tag = schema.get("properties")?.get("type")?;
    if let Some(name) = tag.get("const").and_then(Value::as_str) {
        return Some(vec![name]);
    }
    Some(tag.get("enum")?.as_array()?.iter().filter_map(Value::as_str).collect())
}

pub(super) fn kind_word(kind: &str) -> &str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "a map",
        other => other,
    }
}

/// A scalar as it stands in YAML.
pub(super) fn show(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn bad_address(text: &str) -> Option<String> {
    text.parse::<std::net::SocketAddr>().is_err().then(|| format!("`{text}` is not an IP address and a port"))
}

/// What is wrong with a sender's address: one address, with or without a name.
pub(super) fn bad_mailbox(text: &str) -> Option<String> {
    crate::outbound::mail::address(text).is_none().then(|| format!("`{text}` is not a mail address"))
}

pub(super) fn bad_network(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(address) if address.is_ipv4() => 32,
        Ok(_) => 128,
        Err(_) => return Some(format!("`{text}` is not an IP address or a network")),
    };
    let fits = bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most));
    (!fits).then(|| format!("`{text}` has no valid prefix length: 0 to {most}"))
}

pub(super) fn bad_url(text: &str) -> Option<String> {
    match url::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Some("it must start with https:// or http://".into()),
        Ok(url) if url.host_str().is_none() => Some("it has no host".into()),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            Some("it must not have a query or fragment".into())
        }
        Ok(_) => None,
        Err(_) => Some(format!("`{text}` is not a URL")),
    }
}
