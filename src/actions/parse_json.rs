//! The `parse_json` action: text into data, checked by a schema.
//!
//! Content that is text is parsed as strictly as a body is; any other value is taken as it is. Either must fit the
//! schema as it stands: nothing is folded or converted.

use serde_json::Value;

use super::{Action, Next, StartContext};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::flow::format::body_schema;
use crate::run::Failure;
use crate::schema::{BodyError, Validation, json};

/// Levels of nesting that `content` may have.
const CONTENT_DEPTH_MAX: usize = 64;

/// The `parse_json` action.
#[derive(Debug, Clone, Copy)]
pub struct ParseJson;

/// What `parse_json` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// JSON as text, or a value that is taken as it is.
    #[schemars(required, extend("x-template" = "plain"))]
    content: Option<Value>,
    /// JSON Schema that the value must fit as it stands: a file in `schemas/`, or the schema itself.
    #[schemars(required, schema_with = "body_schema", extend("x-body-schema" = true))]
    #[expect(dead_code, reason = "compiled with the flow")]
    schema: Option<Value>,
}

impl Action for ParseJson {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "parse_json",
            summary: "makes data of JSON text and checks it by a schema",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the value: `actions.NAME.outputs.KEY`")],
            example: "name: details\ntype: parse_json\ncontent: \"{{trigger.body.Description}}\"\nschema:\n  type: object\n  required: [seats]\n  properties:\n    seats: { type: integer }\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: None,
        }
    }

    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        let value = match keys.content.unwrap_or_default() {
            Value::String(text) => json::parse(&text, "`content`", CONTENT_DEPTH_MAX)
                .map_err(|error| Failure::terminal(error.code, error.message))?,
            other => other,
        };
        match &cx.schema {
            None => Ok(Next::Done(value)),
            Some(schema) => match schema.receive(value, Validation::Strict) {
                Ok(received) => Ok(Next::Done(received.body)),
                Err(errors) => Err(Failure::terminal("schema_mismatch", mismatch(&schema.name, &errors))),
            },
        }
    }
}

/// Pointers and rules, never values.
fn mismatch(schema: &str, errors: &[BodyError]) -> String {
    let told = errors.iter().map(|error| match error.pointer.as_str() {
        "" => error.message.clone(),
        pointer => format!("{pointer}: {}", error.message),
    });
    format!("`content` does not fit {schema}: {}", told.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::schema::BodySchema;

    fn parsed(content: &Value) -> Result<Value, (String, String)> {
        let source = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": ["object", "null"],
            "required": ["Name"], "properties": {"Name": {"type": "string"}, "Seats": {"type": "integer"}}});
        let schema = BodySchema::compile("the inline schema", &source).expect("a schema");
        let cx = StartContext { schema: Some(Arc::new(schema)), ..StartContext::for_tests() };
        match ParseJson.start(&json!({ "content": content }), &cx) {
            Ok(Next::Done(value)) => Ok(value),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err((failure.code, failure.message)),
        }
    }

    #[test]
    fn text_is_parsed_and_other_values_are_taken_as_they_are() {
        assert_eq!(parsed(&json!("{\"Name\": \"Ada\", \"Seats\": 3}")), Ok(json!({"Name": "Ada", "Seats": 3})));
        assert_eq!(parsed(&json!({"Name": "Ada"})), Ok(json!({"Name": "Ada"})));
        assert_eq!(parsed(&json!(null)), Ok(json!(null)));
    }

    #[test]
    fn a_misfit_names_places_and_rules_and_no_value() {
        let (code, message) = parsed(&json!("{\"Name\": \"Ada\", \"Seats\": \"Lovelace\"}")).expect_err("a misfit");
        assert_eq!(code, "schema_mismatch");
        assert_eq!(message, "`content` does not fit the inline schema: /Seats: value is not of type \"integer\"");
        let (code, message) = parsed(&json!({"name": "Ada"})).expect_err("the case of keys counts");
        assert!(code == "schema_mismatch" && message.contains("\"Name\" is a required property"), "{message}");
    }

    #[test]
    fn text_that_is_not_json_is_told_with_its_place() {
        for (content, want) in
            [("", "invalid_json"), ("{'a': 1}", "invalid_json"), ("{\"a\":1,\"a\":2}", "duplicate_json_key")]
        {
            let (code, message) = parsed(&json!(content)).expect_err(content);
            assert!(code == want && message.contains("line 1"), "{code}: {message}");
        }
        assert_eq!(parsed(&json!("[".repeat(100))).expect_err("deep").0, "json_too_deep");
    }
}
