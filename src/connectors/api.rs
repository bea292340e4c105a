//! What the record systems behind HTTP APIs have in common: how a request is written, what a failure is called.
//!
//! Promise: no failure repeats a value. Of a system's own words only its code is told, and those of our field names that
//! it mentions.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;

use super::{Dialect, OpContext, Opened, Operation, Reach, Target};
use crate::outbound::http::{Credentials, HttpTransport, Origin};
use crate::outbound::{HttpBody, HttpRequest, Transport};
use crate::run::Failure;

/// What is percent-encoded in a value that becomes part of a URL: everything but RFC 3986's unreserved characters.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The most field names that a failure repeats.
const FIELDS_NAMED_MAX: usize = 5;

/// The longest code of a system that a failure repeats, in characters.
const CODE_CHARS_MAX: usize = 60;

/// What was asked of whom, for messages: nothing of the lead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    operation: &'a Operation,
    connection: &'a str,
}

impl<'a> Asked<'a> {
    pub(super) fn new(operation: &'a Operation, cx: &OpContext<'a>) -> Self {
        Self { operation, connection: cx.connection }
    }

    /// An answer that is none of this API: a login page, a proxy's word. What it did to a write, nobody knows.
    pub(super) fn unexpected_answer(self) -> Failure {
        let message = format!("{self} was answered with something that is no answer of this API; check `url`");
        match self.operation {
            Operation::GetRecord(_) | Operation::ListRecords(_) => Failure::terminal("unexpected_answer", message),
            _ => Failure::unknown("unexpected_answer", message),
        }
    }

    /// The record is not there.
    pub(super) fn not_found(self) -> Failure {
        Failure::terminal("not_found", format!("{self} found no such record"))
    }

    /// The record is there already, and that is not what the flow wants.
    pub(super) fn duplicate(self, why: &str) -> Failure {
        Failure::terminal("duplicate", format!("{self} met a record that is there already{why}"))
    }

    /// The key that the flow gives cannot be one of this system.
    pub(super) fn bad_key(self, why: &str) -> Failure {
        Failure::terminal("bad_key", format!("{self} is not possible: {why}"))
    }

    /// The fields that the operation sets.
    pub(super) fn fields(self) -> Option<&'a Map<String, Value>> {
        match self.operation {
            Operation::CreateRecord(create) => Some(&create.fields),
            Operation::UpdateRecord(update) => Some(&update.fields),
            Operation::UpsertRecord(upsert) => Some(&upsert.fields),
            _ => None,
        }
    }

    /// The entity.
    pub(super) fn entity(self) -> &'a str {
        self.operation.entity().unwrap_or_default()
    }

    /// The record that the operation is about.
    fn target(self) -> Option<&'a Target> {
        match self.operation {
            Operation::UpdateRecord(update) => Some(&update.target),
            Operation::UpsertRecord(upsert) => Some(&upsert.target),
            Operation::GetRecord(get) => Some(&get.target),
            _ => None,
        }
    }

    /// Its id, where the flow gives one.
    pub(super) fn id(self) -> Option<&'a str> {
        match self.target()? {
            Target::Id(id) => Some(id),
            Target::Key(_) => None,
        }
    }

    /// The key by which the operation means a record.
    pub(super) fn key(self) -> Option<&'a Map<String, Value>> {
        match self.target()? {
            Target::Id(_) => None,
            Target::Key(key) => Some(key),
        }
    }

    /// Whether the operation is about a record that must be there.
    pub(super) fn wants_a_record(self) -> bool {
        matches!(self.operation, Operation::UpdateRecord(_) | Operation::GetRecord(_))
    }

    /// A system's word that may be told: its code, and our own fields that its message names.
    pub(super) fn said(self, code: &str, message: &str) -> Option<String> {
        let mut said = code_word(code)?;
        let names = self.fields().map(|fields| named(message, fields)).unwrap_or_default();
        if !names.is_empty() {
            said = format!("{said} (field {})", names.join(", "));
        }
        Some(said)
    }
}

/// A code is a word: whatever else stands in its place could be anything.
fn code_word(code: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (!code.is_empty() && code.len() <= CODE_CHARS_MAX && code.chars().all(fits)).then(|| code.to_owned())
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.operation.kind().action();
        let entity = self.operation.entity().unwrap_or_default();
        write!(f, "{action} `{entity}` on connection `{}`", self.connection)
    }
}

/// The names among `fields` that stand in `message` as whole words.
fn named(message: &str, fields: &Map<String, Value>) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> = message.split(|c: char| !is_name(c)).collect();
    let bare = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
    let found = fields.keys().filter(|name| words.iter().any(|word| word.eq_ignore_ascii_case(&bare(name))));
    found.take(FIELDS_NAMED_MAX).map(|name| format!("`{name}`")).collect()
}

/// A request, complete but for credentials.
pub(super) fn request(method: &str, url: String, headers: &[(&str, &str)], body: Option<Value>) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        url,
        query: Vec::new(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.map(HttpBody::Json),
        url_from_value: false,
    }
}

/// `value` as part of a URL: nothing in it has a meaning there.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

/// The name of an entity or a field as part of a query. Names come from the flow file, but what is no name could change
/// the query.
pub(super) fn name(name: &str) -> Result<&str, Failure> {
    let fits = |c: char| c.is_alphanumeric() || "_./".contains(c);
    let is_name = name.chars().all(fits) && name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if is_name && !name.contains("..") {
        return Ok(name);
    }
    Err(Failure::terminal("bad_field_name", "an entity or field has a name that this system cannot have; see the flow"))
}

/// The names of `select`, with commas between.
pub(super) fn names(select: &[String]) -> Result<String, Failure> {
    Ok(select.iter().map(|field| name(field)).collect::<Result<Vec<_>, _>>()?.join(","))
}

/// Whether `text` is a version as APIs write them in paths: `v62.0`.
pub(super) fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.strip_prefix('v').and_then(|version| version.split_once('.'));
    parts.is_some_and(|(major, minor)| digits(major) && digits(minor))
}

/// Where a system is: `https://host`, without a slash at the end. The error names the key and shows `example`.
pub(super) fn site(key: &str, text: &str, example: &str) -> Result<String, String> {
    let wrong = || format!("`{key}` is not the address of a system; write {example}");
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare || url.password().is_some() {
        return Err(wrong());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Opens a connection to the API at `base`.
pub(super) fn open(
    base: String,
    headers: &[(&str, &str)],
    auth: Credentials,
    reach: &Reach,
    dialect: impl Dialect + 'static,
) -> Result<Opened, String> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let origin = Origin { base_url: Some(base), headers, query: Vec::new(), auth };
    let client = reach.http.clone().with_ca(&reach.ca);
    let transport = Transport::Http(Arc::new(HttpTransport::connection(&client, origin)?));
    Ok(Opened { dialect: Arc::new(dialect), transport })
}

/// The value of a header.
pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connectors::{CreateRecord, OnDuplicate, context_for_tests};

    #[test]
    fn of_a_systems_words_only_codes_and_our_field_names_are_told() {
        let fields = json!({"lastname": "Doe", "parentaccountid@odata.bind": "/accounts(1)", "name": "x"});
        let Value::Object(fields) = fields else { panic!("an object") };
        let operation =
            Operation::CreateRecord(CreateRecord { entity: "leads".into(), fields, on_duplicate: OnDuplicate::Ok });
        let cx = context_for_tests("crm");
        let asked = Asked::new(&operation, &cx);
        let message = "The value 'Doe' of LastName is bad; parentaccountid too, lastnames not";
        let said = asked.said("0x80040333", message).expect("a code");
        assert_eq!(said, "0x80040333 (field `lastname`, `parentaccountid@odata.bind`)");
        assert_eq!(asked.said("Doe, jane@b.example", message), None);
        assert_eq!(asked.said("", message), None);
        assert_eq!(asked.to_string(), "create_record `leads` on connection `crm`");
    }

    #[test]
    fn names_are_names_and_values_are_values() {
        for good in ["leads", "cr123_lead", "_owner_value", "Account.Name", "primarycontactid/fullname"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a'b", "a)", "../x", "a..b", "1a", "a?b", "a,b"] {
            assert_eq!(name(bad).expect_err("no name").code, "bad_field_name", "{bad}");
        }
        assert_eq!(encoded("a'b/../?ü"), "a%27b%2F..%2F%3F%C3%BC");
    }

    #[test]
    fn a_site_is_an_address_and_nothing_else() {
        let site = |text: &str| site("url", text, "https://x.example");
        assert_eq!(site(" https://Org.Example/ "), Ok("https://org.example".into()));
        for bad in ["org.example", "ftp://x.example", "https://u:p@x.example", "https://x.example/?a=1", "https://"] {
            assert!(site(bad).is_err_and(|error| error.contains("`url`")), "{bad}");
        }
    }
}
