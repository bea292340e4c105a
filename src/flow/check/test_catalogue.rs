//! A small catalogue for tests: the layer rule keeps the real one out of `flow`.

use serde_json::{Value, json};

use crate::flow::catalogue::{ActionSpec, Catalogue, ConnectorSpec, OperationKind, OwnFinding, Repeat};

/// Actions and connectors shaped like the real ones.
pub(in crate::flow) fn catalogue() -> Catalogue {
    let records = connector("records", &OperationKind::RECORDS);
    let outbox = connector("outbox", &[OperationKind::Email]);
    let mut actions = vec![create_record(), send_email(), http(), respond(), compose(), delay()];
    actions.extend(crate::flow::control::specs());
    Catalogue::new(actions, vec![records, outbox, connector("http", &[OperationKind::Http])])
}

fn connector(kind: &'static str, operations: &[OperationKind]) -> ConnectorSpec {
    ConnectorSpec {
        kind: kind.into(),
        summary: "for tests".into(),
        settings: schemars::Schema::default(),
        operations: operations
            .iter()
            .map(|operation| {
                let repeat = if *operation == OperationKind::Http { Repeat::Unsafe } else { Repeat::Safe };
                (*operation, repeat)
            })
            .collect(),
    }
}

fn action(kind: &'static str, example: &'static str, properties: &Value, required: &[&str]) -> ActionSpec {
    let keys = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
        "$defs": { "OnDuplicate": { "oneOf": [{ "const": "ok" }, { "const": "update" }, { "const": "fail" }] } },
    });
    ActionSpec {
        kind,
        summary: "for tests",
        keys: keys.try_into().expect("a schema"),
        outputs: &[],
        example,
        operation: None,
        connection_required: false,
        blank_guard: None,
        leaves_the_machine: false,
        responds: false,
        check: None,
    }
}

fn create_record() -> ActionSpec {
    let properties = json!({
        "connection": { "type": ["string", "null"], "x-fixed": true },
        "entity": { "type": "string", "minLength": 1, "x-fixed": true },
        "fields": { "type": "object", "x-template": "plain" },
        "on_duplicate": { "anyOf": [{ "$ref": "#/$defs/OnDuplicate" }, { "type": "null" }] },
    });
    ActionSpec {
        outputs: &[("id", "the id"), ("url", "where to see it")],
        operation: Some(OperationKind::Create),
        connection_required: true,
        blank_guard: Some("fields"),
        leaves_the_machine: true,
        ..action("create_record", "name: a\ntype: create_record\n", &properties, &["entity", "fields"])
    }
}

fn send_email() -> ActionSpec {
    let properties = json!({
        "connection": { "type": ["string", "null"], "x-fixed": true },
        "to": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }], "x-template": "plain" },
        "subject": { "type": "string", "x-template": "plain" },
        "body": { "type": ["string", "null"], "x-template": "plain" },
        "html": { "type": ["string", "null"], "x-template": "html" },
        "to_from_lead": { "type": "boolean", "default": false },
    });
    ActionSpec {
        outputs: &[("message_id", "its id")],
        operation: Some(OperationKind::Email),
        connection_required: true,
        leaves_the_machine: true,
        check: Some(recipient_check),
        ..action("send_email", "name: a\ntype: send_email\n", &properties, &["to", "subject"])
    }
}

fn recipient_check(raw: &Value) -> Vec<OwnFinding> {
    let from_lead = raw["to"].as_str().is_some_and(|to| to.contains("trigger"));
    let pointer = "/to".to_owned();
    let message = "the address uses the lead".to_owned();
    let finding = OwnFinding { pointer, code: "recipient_from_lead", message, help: None };
    (from_lead && raw["to_from_lead"] != true).then_some(finding).into_iter().collect()
}

fn http() -> ActionSpec {
    let properties = json!({
        "connection": { "type": ["string", "null"], "x-fixed": true },
        "method": { "type": "string", "enum": ["GET", "POST"] },
        "url": { "type": "string", "x-template": "url" },
        "headers": { "type": "object", "additionalProperties": { "type": ["string", "number"] }, "x-template": "plain" },
        "body": { "x-template": "plain" },
    });
    ActionSpec {
        outputs: &[("status_code", "its status"), ("body", "its body")],
        operation: Some(OperationKind::Http),
        leaves_the_machine: true,
        ..action("http", "name: a\ntype: http\n", &properties, &["method", "url"])
    }
}

fn respond() -> ActionSpec {
    let properties = json!({
        "status": { "type": "integer", "minimum": 200, "maximum": 599, "x-template": "plain" },
        "body": { "x-template": "plain" },
        "async": { "x-not-yet": "" },
    });
    ActionSpec { responds: true, ..action("respond", "name: a\ntype: respond\n", &properties, &[]) }
}

fn compose() -> ActionSpec {
    ActionSpec {
        outputs: &[("(itself)", "the value")],
        ..action("compose", "name: a\ntype: compose\n", &json!({ "inputs": { "x-template": "plain" } }), &["inputs"])
    }
}

fn delay() -> ActionSpec {
    let properties = json!({ "for": { "type": "string", "x-fixed": true, "x-duration": true } });
    action("delay", "name: a\ntype: delay\n", &properties, &[])
}
