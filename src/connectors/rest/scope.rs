//! What templates of a connector file see of an operation, a request before and an answer.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::connectors::{ListRecords, OpContext, Operation, SendEmail, Target};
use crate::outbound::HttpReply;
use crate::outbound::mail::name_and_address;

/// What an operation is, by the roots of templates. `limit` is how many records may still come in one page.
pub(super) fn of_operation(operation: &Operation, cx: &OpContext<'_>) -> Map<String, Value> {
    let mut values = Map::new();
    values.insert(
        "operation".into(),
        json!({
            "type": operation.kind().action(),
            "key": cx.key.hex(),
            "uuid": cx.key.uuid().to_string(),
            "run_id": cx.run_id.to_string(),
            "received_at": crate::clock::rfc3339(cx.received_at),
        }),
    );
    values.insert("entity".into(), json!(operation.entity()));
    let (fields, target) = match operation {
        Operation::CreateRecord(create) => (Some(&create.fields), None),
        Operation::UpdateRecord(update) => (Some(&update.fields), Some(&update.target)),
        Operation::UpsertRecord(upsert) => (Some(&upsert.fields), Some(&upsert.target)),
        Operation::GetRecord(get) => (None, Some(&get.target)),
        _ => (None, None),
    };
    let mut record = Map::new();
    if let Some(Target::Key(key)) = target {
        record.extend(key.clone());
        values.insert("key".into(), pairs(key));
    }
    if let Some(Target::Id(id)) = target {
        values.insert("id".into(), json!(id));
    }
    if let Some(fields) = fields {
        record.extend(fields.clone());
        values.insert("fields".into(), json!(fields));
    }
    values.insert("record".into(), Value::Object(record));
    match operation {
        Operation::ListRecords(list) => of_list(list, &mut values),
        Operation::SendEmail(mail) => {
            values.insert("mail".into(), of_mail(mail, cx));
        }
        _ => {}
    }
    values
}

/// `[{field, value}]`: a request can go through it.
fn pairs(fields: &Map<String, Value>) -> Value {
    fields.iter().map(|(field, value)| json!({ "field": field, "value": value })).collect()
}

fn of_list(list: &ListRecords, values: &mut Map<String, Value>) {
    values.insert("where".into(), pairs(&list.filter));
    values.insert("select".into(), json!(list.select));
    let order = list.order_by.iter().map(|(field, descending)| json!({ "field": field, "descending": descending }));
    values.insert("order_by".into(), order.collect());
    values.insert("limit".into(), json!(list.limit));
}

fn of_mail(mail: &SendEmail, cx: &OpContext<'_>) -> Value {
    let address = |text: &String| {
        let (name, address) = name_and_address(text).unwrap_or((None, text.clone()));
        json!({ "name": name, "address": address })
    };
    let addresses = |list: &[String]| -> Value { list.iter().map(address).collect() };
    let attachments = mail.attachments.iter().map(|file| {
        let content = base64::engine::general_purpose::STANDARD.encode(&file.content);
        json!({ "name": file.name, "content": content, "content_type": file.content_type })
    });
    json!({
        "from": mail.from.as_ref().map(address),
        "to": addresses(&mail.to),
        "cc": addresses(&mail.cc),
        "bcc": addresses(&mail.bcc),
        "reply_to": addresses(&mail.reply_to),
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "importance": mail.importance,
        "attachments": attachments.collect::<Value>(),
        "message_id": message_id(cx),
    })
}

/// The Message-ID of an operation's mail: the same for every try.
pub(super) fn message_id(cx: &OpContext<'_>) -> String {
    format!("<{}@leadflow>", cx.key.hex())
}

/// `answer`. Of a header that came several times, the values with commas between them.
pub(super) fn of_answer(reply: &HttpReply) -> Value {
    let mut headers = Map::new();
    for (name, value) in &reply.headers {
        match headers.get_mut(name) {
            Some(Value::String(first)) => {
                first.push_str(", ");
                first.push_str(value);
            }
            _ => drop(headers.insert(name.clone(), json!(value))),
        }
    }
    json!({ "status": reply.status, "headers": headers, "body": reply.body })
}
