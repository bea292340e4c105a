//! What Dataverse tells of its tables: five reads of the definitions, as its documentation of metadata describes them
//! (<https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>).

use serde_json::Value;

use super::error;
use crate::connectors::api::request;
use crate::connectors::live::{Choice, Described, EntityShape, FieldKind, FieldShape, Need};
use crate::connectors::refused;
use crate::outbound::{Effect, Reply};
use crate::run::Failure;

/// What is asked of one table, in this order, after its name is known.
const QUESTIONS: [&str; 5] = [
    "/Attributes?$select=LogicalName,AttributeType,AttributeTypeName,AttributeOf,RequiredLevel,IsValidForCreate,IsValidForUpdate",
    "/Attributes/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=LogicalName,MaxLength",
    "/Attributes/Microsoft.Dynamics.CRM.MemoAttributeMetadata?$select=LogicalName,MaxLength",
    "/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "/ManyToOneRelationships?$select=ReferencingAttribute,ReferencingEntityNavigationPropertyName",
];

pub(super) fn describe(entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
    let answers = so_far.iter().map(values).collect::<Result<Vec<_>, _>>()?;
    let Some((tables, answers)) = answers.split_first() else {
        return Ok(ask("EntityDefinitions?$select=LogicalName,EntitySetName".into()));
    };
    let Some(table) = tables.iter().find(|table| table["EntitySetName"] == entity) else {
        let names = tables.iter().filter_map(|table| table["EntitySetName"].as_str()).map(str::to_owned);
        return Ok(Described::NoEntity(names.collect()));
    };
    let table = table["LogicalName"].as_str().unwrap_or_default();
    Ok(match (QUESTIONS.get(answers.len()), answers) {
        (Some(question), _) => ask(format!("EntityDefinitions(LogicalName='{table}'){question}")),
        (None, [attributes, texts, memos, choices, references]) => {
            Described::Shape(shape(attributes, &[texts, memos], choices, references))
        }
        (None, _) => return Err(Failure::terminal("internal_error", "more answers than questions")),
    })
}

fn ask(url: String) -> Described {
    Described::Ask(Effect::Http(request("GET", url, &[], None)))
}

/// The list in an answer.
fn values(reply: &Reply) -> Result<&Vec<Value>, Failure> {
    let asked = "the table definitions";
    match reply {
        Reply::Http(reply) if reply.status == 200 => reply.body["value"].as_array().ok_or_else(|| {
            Failure::terminal("unexpected_answer", format!("{asked} were answered with something else; check `url`"))
        }),
        Reply::Http(reply) => Err(refused(asked, reply, Some(error(reply).0).filter(|code| !code.is_empty()))),
        Reply::Failed(failure) => Err(failure.clone()),
        _ => Err(Failure::terminal("internal_error", "the reply does not belong to the effect")),
    }
}

/// The definition of `name` in `list`.
fn of<'a>(list: &'a [Value], name: &str) -> Option<&'a Value> {
    list.iter().find(|one| one["LogicalName"] == name)
}

fn shape(attributes: &[Value], texts: &[&Vec<Value>], choices: &[Value], references: &[Value]) -> EntityShape {
    let plain = attributes.iter().filter_map(|attribute| {
        let name = attribute["LogicalName"].as_str()?;
        // Parts of other attributes (the name of a lookup's record) are read-only shadows.
        if !attribute["AttributeOf"].is_null() {
            return None;
        }
        let kind = kind(attribute)?;
        let length = texts.iter().find_map(|list| of(list, name)?["MaxLength"].as_u64());
        let boolean = |key: &str| attribute[key].as_bool().unwrap_or(true);
        Some(FieldShape {
            need: need(attribute, kind),
            chars_max: length.and_then(|length| usize::try_from(length).ok()),
            choices: of(choices, name).map(options).unwrap_or_default(),
            on_create: boolean("IsValidForCreate"),
            on_update: boolean("IsValidForUpdate"),
            ..FieldShape::new(name, kind)
        })
    });
    let bound = references.iter().filter_map(|reference| {
        let property = reference["ReferencingEntityNavigationPropertyName"].as_str()?;
        let attribute = of(attributes, reference["ReferencingAttribute"].as_str()?)?;
        // A lookup to one of several tables has several properties: which one is needed, nobody can say.
        Some(FieldShape {
            on_create: attribute["IsValidForCreate"].as_bool().unwrap_or(true),
            on_update: attribute["IsValidForUpdate"].as_bool().unwrap_or(true),
            ..FieldShape::new(format!("{property}@odata.bind"), FieldKind::Text)
        })
    });
    EntityShape { fields: plain.chain(bound).collect(), is_open: false, case_matters: true }
}

/// What an attribute takes; `None`: it is set by another name (a lookup by its `@odata.bind`).
fn kind(attribute: &Value) -> Option<FieldKind> {
    Some(match attribute["AttributeType"].as_str().unwrap_or_default() {
        "String" | "Memo" => FieldKind::Text,
        "Integer" | "BigInt" | "Picklist" | "State" | "Status" => FieldKind::Integer,
        "Decimal" | "Double" | "Money" => FieldKind::Number,
        "Boolean" => FieldKind::Boolean,
        "Lookup" | "Customer" | "Owner" => return None,
        // Several choices are one text with commas.
        "Virtual" if attribute["AttributeTypeName"]["Value"] == "MultiSelectPicklistType" => FieldKind::Text,
        // A date may be one with or without a time: both are text, and Dataverse takes either form for some.
        _ => FieldKind::Other,
    })
}

/// Forms insist on `ApplicationRequired`, the API does not. `SystemRequired` is mostly what Dataverse fills in itself;
/// texts are not.
fn need(attribute: &Value, kind: FieldKind) -> Need {
    match attribute["RequiredLevel"]["Value"].as_str() {
        Some("ApplicationRequired") => Need::Expected,
        Some("SystemRequired") if kind == FieldKind::Text => Need::Required,
        _ => Need::Optional,
    }
}

fn options(attribute: &Value) -> Vec<Choice> {
    let list = ["OptionSet", "GlobalOptionSet"].iter().find_map(|key| attribute[key]["Options"].as_array());
    let one = |option: &Value| Choice {
        value: option["Value"].clone(),
        label: option["Label"]["UserLocalizedLabel"]["Label"].as_str().unwrap_or_default().to_owned(),
    };
    list.into_iter().flatten().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outbound::HttpReply;

    fn answer(body: Value) -> Reply {
        Reply::Http(HttpReply { status: 200, headers: Vec::new(), body, retry_after: None })
    }

    fn asked(described: &Described) -> &str {
        let Described::Ask(Effect::Http(request)) = described else { panic!("a question: {described:?}") };
        assert_eq!(request.method, "GET");
        &request.url
    }

    /// The shapes of the documentation, shortened.
    fn answers() -> Vec<Reply> {
        let attribute = |name: &str, kind: &str, level: &str| {
            json!({"LogicalName": name, "AttributeType": kind, "AttributeTypeName": {"Value": format!("{kind}Type")},
                "AttributeOf": null, "RequiredLevel": {"Value": level, "CanBeChanged": true},
                "IsValidForCreate": name != "createdon", "IsValidForUpdate": true})
        };
        let option = |value: i32, label: &str| json!({"Value": value, "Label": {"UserLocalizedLabel": {"Label": label, "LanguageCode": 1033}}});
        vec![
            answer(
                json!({"value": [{"LogicalName": "account", "EntitySetName": "accounts"}, {"LogicalName": "lead", "EntitySetName": "leads"}]}),
            ),
            answer(json!({"value": [
                attribute("subject", "String", "ApplicationRequired"), attribute("description", "Memo", "None"),
                attribute("leadsourcecode", "Picklist", "None"), attribute("createdon", "DateTime", "None"),
                attribute("ownerid", "Owner", "SystemRequired"), attribute("parentaccountid", "Lookup", "None"),
                attribute("statecode", "State", "SystemRequired"),
                json!({"LogicalName": "owneridname", "AttributeType": "String", "AttributeOf": "ownerid"}),
            ]})),
            answer(json!({"value": [{"LogicalName": "subject", "MaxLength": 300}]})),
            answer(json!({"value": [{"LogicalName": "description", "MaxLength": 2000}]})),
            answer(json!({"value": [{"LogicalName": "leadsourcecode", "GlobalOptionSet": null,
                "OptionSet": {"Options": [option(1, "Advertisement"), option(8, "Web")]}}]})),
            answer(
                json!({"value": [{"ReferencingAttribute": "parentaccountid", "ReferencingEntityNavigationPropertyName": "parentaccountid"}]}),
            ),
        ]
    }

    #[test]
    fn five_reads_after_the_name_describe_a_table() {
        let answers = answers();
        assert!(asked(&describe("leads", &[]).expect("a question")).starts_with("EntityDefinitions?"));
        for n in 1..6 {
            let described = describe("leads", &answers[..n]).expect("a question");
            assert!(asked(&described).starts_with("EntityDefinitions(LogicalName='lead')/"), "{n}");
        }
        let Described::Shape(shape) = describe("leads", &answers).expect("a shape") else { panic!("a shape") };
        let names: Vec<&str> = shape.fields.iter().map(|field| field.name.as_str()).collect();
        let expected =
            ["subject", "description", "leadsourcecode", "createdon", "statecode", "parentaccountid@odata.bind"];
        assert_eq!(names, expected);
        assert_eq!((shape.fields[0].need, shape.fields[0].chars_max), (Need::Expected, Some(300)));
        assert_eq!(shape.fields[1].chars_max, Some(2000));
        assert_eq!(shape.fields[2].choices[1], Choice { value: json!(8), label: "Web".into() });
        assert!(!shape.fields[3].on_create);
        assert_eq!(shape.fields[4].need, Need::Optional);
    }

    #[test]
    fn a_table_that_is_not_there_gives_those_that_are() {
        let described = describe("lead", &answers()[..1]).expect("an answer");
        assert_eq!(described, Described::NoEntity(vec!["accounts".into(), "leads".into()]));
        let page = answer(json!("<html>"));
        assert_eq!(describe("leads", &[page]).expect_err("no answer").code, "unexpected_answer");
    }
}
