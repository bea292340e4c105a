//! Stand-ins for secrets that a system wants elsewhere than in `Authorization`: a password in a JSON-RPC body.
//!
//! Promise: whoever makes a request sees the stand-in only; the secret takes its place when the request is sent, and
//! what is shown of the request has `***` there.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::super::{HttpBody, HttpRequest};
use crate::secret::Secret;

/// Stand-ins with their secrets.
#[derive(Debug, Clone, Default)]
pub struct StandIns {
    pairs: Vec<(String, Secret)>,
}

impl StandIns {
    /// A stand-in for each of `secrets`, by name. Nobody can guess one, so that no value can pass for it. The error says
    /// that the system gives no random numbers.
    pub fn new(secrets: Vec<(String, Secret)>) -> Result<Self, String> {
        if secrets.is_empty() {
            return Ok(Self::default());
        }
        let nonce = crate::ids::random().map_err(|_| "the system gives no random numbers")?;
        let pairs = secrets.into_iter().map(|(name, secret)| (format!("stand-in-{nonce:032x}-{name}-"), secret));
        Ok(Self { pairs: pairs.collect() })
    }

    /// The stand-ins, in the order of the secrets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// The request as it is sent.
    pub(super) fn put_in(&self, request: &HttpRequest) -> HttpRequest {
        let mut request = request.clone();
        if self.pairs.is_empty() {
            return request;
        }
        let plain = |secret: &Secret| secret.expose().to_owned();
        let encoded = |secret: &Secret| utf8_percent_encode(secret.expose(), NON_ALPHANUMERIC).to_string();
        request.url = self.replace(&request.url, &encoded);
        for (_, value) in request.query.iter_mut().chain(&mut request.headers) {
            *value = self.replace(value, &plain);
        }
        match &mut request.body {
            Some(HttpBody::Json(value)) => self.value(value, &plain),
            Some(HttpBody::Text(text)) => *text = self.replace(text, &plain),
            None => {}
        }
        request
    }

    /// `text` as it may be shown.
    pub fn hide(&self, text: &str) -> String {
        self.replace(text, &|_| "***".to_owned())
    }

    /// `value` as it may be shown.
    pub fn hide_in(&self, mut value: Value) -> Value {
        self.value(&mut value, &|_| "***".to_owned());
        value
    }

    /// `value` with the secrets in it: only for comparing what would be sent with what should be.
    pub fn reveal_in(&self, mut value: Value) -> Value {
        self.value(&mut value, &|secret| secret.expose().to_owned());
        value
    }

    fn replace(&self, text: &str, with: &dyn Fn(&Secret) -> String) -> String {
        let mut text = text.to_owned();
        for (name, secret) in self.pairs.iter().filter(|(name, _)| !name.is_empty()) {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), &with(secret));
            }
        }
        text
    }

    fn value(&self, value: &mut Value, with: &dyn Fn(&Secret) -> String) {
        match value {
            Value::String(text) => *text = self.replace(text, with),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, with)),
            Value::Object(entries) => entries.values_mut().for_each(|entry| self.value(entry, with)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_take_their_places_and_are_never_shown() {
        let stand_ins = StandIns::new(vec![("password".into(), Secret::new("a/b\"c"))]).expect("random numbers");
        let name = stand_ins.names().next().expect("one").to_owned();
        let request = HttpRequest {
            method: "POST".into(),
            url: format!("/x/{name}"),
            query: vec![("q".into(), name.clone())],
            headers: vec![("h".into(), name.clone())],
            body: Some(HttpBody::Json(json!({"args": ["db", name]}))),
            url_from_value: false,
        };
        let sent = stand_ins.put_in(&request);
        assert_eq!((sent.url.as_str(), sent.query[0].1.as_str()), ("/x/a%2Fb%22c", "a/b\"c"));
        assert_eq!(sent.body, Some(HttpBody::Json(json!({"args": ["db", "a/b\"c"]}))));
        assert_eq!(stand_ins.hide_in(json!([name])), json!(["***"]));
        assert!(!format!("{stand_ins:?}").contains("a/b"));
        // What a lead brings is never taken for a stand-in.
        assert_eq!(stand_ins.hide("stand-in-password-"), "stand-in-password-");
    }
}
