//! What Salesforce tells of its objects: one `describe`, and the list of objects where there is none of that name.

use serde_json::Value;

use super::answer;
use crate::connectors::api::{name, request};
use crate::connectors::live::{Choice, Described, EntityShape, FieldKind, FieldShape, Need};
use crate::connectors::refused;
use crate::outbound::{Effect, HttpReply, Reply};
use crate::run::Failure;

pub(super) fn describe(entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
    let ask = |url: String| Described::Ask(Effect::Http(request("GET", url, &[], None)));
    match so_far {
        [] => Ok(ask(format!("sobjects/{}/describe", name(entity)?))),
        [Reply::Http(first)] if first.status == 404 => Ok(ask("sobjects".into())),
        [Reply::Http(first), _] if first.status == 404 => {
            let objects = list(so_far.get(1), "sobjects")?;
            let names = objects.iter().filter_map(|object| object["name"].as_str()).map(str::to_owned);
            Ok(Described::NoEntity(names.collect()))
        }
        _ => {
            let fields = list(so_far.first(), "fields")?.iter().filter_map(field).collect();
            Ok(Described::Shape(EntityShape { fields, is_open: false, case_matters: false }))
        }
    }
}

fn list<'a>(reply: Option<&'a Reply>, key: &str) -> Result<&'a Vec<Value>, Failure> {
    let asked = "the description of the object";
    match reply {
        Some(Reply::Http(HttpReply { status: 200, body, .. })) => body[key].as_array().ok_or_else(|| {
            Failure::terminal("unexpected_answer", format!("{asked} was answered with something else; check `url`"))
        }),
        Some(Reply::Http(reply)) => {
            Err(refused(asked, reply, Some(answer::error(reply).0).filter(|code| !code.is_empty())))
        }
        Some(Reply::Failed(failure)) => Err(failure.clone()),
        _ => Err(Failure::terminal("internal_error", "the reply does not belong to the effect")),
    }
}

/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_sobject_describe.htm>
fn field(field: &Value) -> Option<FieldShape> {
    let name = field["name"].as_str()?;
    let is = |key: &str| field[key].as_bool().unwrap_or(false);
    let kind = match field["type"].as_str().unwrap_or_default() {
        "string" | "textarea" | "email" | "phone" | "url" | "picklist" | "multipicklist" | "combobox" | "id"
        | "reference" | "encryptedstring" => FieldKind::Text,
        "int" | "long" => FieldKind::Integer,
        "double" | "currency" | "percent" => FieldKind::Number,
        "boolean" => FieldKind::Boolean,
        "date" => FieldKind::Date,
        "datetime" => FieldKind::Timestamp,
        _ => FieldKind::Other,
    };
    let must = is("createable") && !field["nillable"].as_bool().unwrap_or(true) && !is("defaultedOnCreate");
    // A checkbox is never empty: it is off.
    let need = if must && kind != FieldKind::Boolean { Need::Required } else { Need::Optional };
    let length = field["length"].as_u64().filter(|length| *length > 0 && kind == FieldKind::Text);
    // Only a restricted picklist refuses other values; one of several is a text with semicolons.
    let is_closed = is("restrictedPicklist") && field["type"] == "picklist";
    let values = field["picklistValues"].as_array().filter(|_| is_closed);
    let choice = |value: &Value| Choice {
        value: value["value"].clone(),
        label: value["label"].as_str().unwrap_or_default().to_owned(),
    };
    let active = values.into_iter().flatten().filter(|value| value["active"] != false);
    Some(FieldShape {
        need,
        chars_max: length.and_then(|length| usize::try_from(length).ok()),
        choices: active.map(choice).collect(),
        on_create: is("createable"),
        on_update: is("updateable"),
        ..FieldShape::new(name, kind)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Value) -> Reply {
        Reply::Http(HttpReply { status, headers: Vec::new(), body, retry_after: None })
    }

    #[test]
    fn one_read_describes_an_object() {
        let Described::Ask(Effect::Http(asked)) = describe("Lead", &[]).expect("a question") else { panic!("asks") };
        assert_eq!((asked.method.as_str(), asked.url.as_str()), ("GET", "sobjects/Lead/describe"));
        let field = |name: &str, kind: &str, length: u32, nillable: bool| {
            json!({"name": name, "type": kind, "length": length, "nillable": nillable, "defaultedOnCreate": false,
                "createable": name != "Id", "updateable": name != "Id", "restrictedPicklist": name == "Rating",
                "picklistValues": if kind == "picklist" { json!([{"active": true, "label": "Hot", "value": "Hot"},
                    {"active": false, "label": "Old", "value": "Old"}]) } else { json!([]) }})
        };
        let fields = json!([
            field("Id", "id", 18, false),
            field("LastName", "string", 80, false),
            field("Rating", "picklist", 255, true),
            field("LeadSource", "picklist", 255, true),
            field("IsUnreadByOwner", "boolean", 0, false),
            field("AnnualRevenue", "currency", 0, true)
        ]);
        let described = describe("Lead", &[answer(200, json!({"name": "Lead", "fields": fields}))]);
        let Ok(Described::Shape(shape)) = described else { panic!("a shape: {described:?}") };
        let needs: Vec<(&str, Need)> = shape.fields.iter().map(|field| (field.name.as_str(), field.need)).collect();
        assert_eq!(needs.iter().filter(|(_, need)| *need == Need::Required).count(), 1, "{needs:?}");
        assert_eq!((shape.fields[1].need, shape.fields[1].chars_max), (Need::Required, Some(80)));
        assert_eq!(shape.fields[2].choices, [Choice { value: json!("Hot"), label: "Hot".into() }]);
        assert!(shape.fields[3].choices.is_empty() && !shape.fields[0].on_create);
    }

    #[test]
    fn an_object_that_is_not_there_gives_those_that_are() {
        let missing =
            answer(404, json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]));
        let Ok(Described::Ask(Effect::Http(asked))) = describe("Leads", std::slice::from_ref(&missing)) else {
            panic!("asks")
        };
        assert_eq!(asked.url, "sobjects");
        let objects = answer(200, json!({"sobjects": [{"name": "Account"}, {"name": "Lead"}]}));
        let described = describe("Leads", &[missing, objects]);
        assert_eq!(described, Ok(Described::NoEntity(vec!["Account".into(), "Lead".into()])));
    }
}
