//! Lists made of lists, texts and numbers: `chunk`, `skip`, `take`, `reverse`, `sort`, `union`, `intersection`, `range`, …

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Map, Value};

use super::given::weight;
use super::logical::order;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::template::eval::property;

/// Most items that `range` makes.
pub(super) const RANGE_ITEMS_MAX: usize = 100_000;

/// A list or a text, and a count.
const COUNTED: Signature = Signature::takes(&["value", "count"], &[Kind::TextOrList, Kind::Integer]);
/// Lists, or objects.
const SEVERAL: Signature = Signature::takes(&["collection", "collection"], &[Kind::ListOrObject]).many(1);

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "createArray",
        gives: Kind::List,
        arguments: Signature::takes(&["item", "item"], &[Kind::Any]).many(1),
        summary: "a list of the arguments",
        examples: &[example("{{createArray trigger.body.A 'b' 1}}", r#"{"A":"a"}"#, r#"["a","b",1]"#)],
        eval: Eval::Strict(create_array),
        ..PLAIN
    },
    HelperSpec {
        name: "array",
        gives: Kind::List,
        arguments: Signature::takes(&["value"], &[Kind::Any]),
        summary: "a list that holds the value; a list stays as it is",
        examples: &[example("{{array 'a'}}", "{}", r#"["a"]"#), example("{{array (createArray 1 2)}}", "{}", "[1,2]")],
        eval: Eval::Strict(|given| Ok(array(given))),
        ..PLAIN
    },
    HelperSpec {
        name: "range",
        gives: Kind::List,
        arguments: Signature::takes(&["start", "count"], &[Kind::Integer]),
        summary: "a list of so many integers in a row",
        notes: &["at most 100,000 integers"],
        examples: &[example("{{range 1 4}}", "{}", "[1,2,3,4]")],
        eval: Eval::Strict(range),
        ..PLAIN
    },
    HelperSpec {
        name: "chunk",
        gives: Kind::List,
        arguments: COUNTED,
        summary: "the list or the text in pieces of so many items or UTF-16 units; the last one may be shorter",
        examples: &[
            example("{{chunk trigger.body.Tags 2}}", r#"{"Tags":["a","b","c"]}"#, r#"[["a","b"],["c"]]"#),
            example("{{chunk 'abcde' 2}}", "{}", r#"["ab","cd","e"]"#),
        ],
        eval: Eval::Strict(chunk),
        ..PLAIN
    },
    HelperSpec {
        name: "skip",
        gives: Kind::TextOrList,
        arguments: COUNTED,
        summary: "the list or the text without its first items or UTF-16 units",
        examples: &[
            example("{{skip trigger.body.Tags 1}}", r#"{"Tags":["a","b","c"]}"#, r#"["b","c"]"#),
            example("{{skip 'hello' 9}}", "{}", r#""""#),
        ],
        eval: Eval::Strict(|given| part(given, |count, length| count.min(length)..length)),
        ..PLAIN
    },
    HelperSpec {
        name: "take",
        gives: Kind::TextOrList,
        arguments: COUNTED,
        summary: "the first items of a list or UTF-16 units of a text; fewer where there are fewer",
        examples: &[
            example("{{take trigger.body.Tags 2}}", r#"{"Tags":["a","b","c"]}"#, r#"["a","b"]"#),
            example("{{take trigger.body.Note 8}}", r#"{"Note":"Test run"}"#, r#""Test run""#),
        ],
        eval: Eval::Strict(|given| part(given, |count, length| 0..count.min(length))),
        ..PLAIN
    },
    HelperSpec {
        name: "reverse",
        gives: Kind::List,
        arguments: Signature::takes(&["list"], &[Kind::List]),
        summary: "the list from its end to its start",
        examples: &[example("{{reverse trigger.body.Tags}}", r#"{"Tags":["a","b"]}"#, r#"["b","a"]"#)],
        eval: Eval::Strict(reverse),
        ..PLAIN
    },
    HelperSpec {
        name: "sort",
        gives: Kind::List,
        arguments: Signature::takes(&["list", "key"], &[Kind::List, Kind::SolidText]).optional(1),
        summary: "the list in order, or its objects by the property `key`; texts by their characters: A, B, a, b",
        notes: &["null stands first; numbers and texts in one list fail", "equal items keep their order"],
        examples: &[
            example("{{sort trigger.body.Tags}}", r#"{"Tags":["b","A","a"]}"#, r#"["A","a","b"]"#),
            example("{{sort trigger.body.Rows 'n'}}", r#"{"Rows":[{"n":2},{"n":1}]}"#, r#"[{"n":1},{"n":2}]"#),
        ],
        eval: Eval::Strict(sort),
        ..PLAIN
    },
    HelperSpec {
        name: "union",
        gives: Kind::ListOrObject,
        arguments: SEVERAL,
        summary: "all items of several lists, each once; of objects all keys, the last value of each",
        notes: &["texts and keys are compared exactly: `a` and `A` are two"],
        examples: &[
            example("{{union trigger.body.A trigger.body.B}}", r#"{"A":[1,2],"B":[2,3]}"#, "[1,2,3]"),
            example("{{union (json '{\"a\":1}') (json '{\"a\":2,\"b\":3}')}}", "{}", r#"{"a":2,"b":3}"#),
        ],
        eval: Eval::Strict(union),
        ..PLAIN
    },
    HelperSpec {
        name: "intersection",
        gives: Kind::ListOrObject,
        arguments: SEVERAL,
        summary: "the items that stand in all lists, each once; of objects the keys that all have with the same value",
        examples: &[example("{{intersection trigger.body.A trigger.body.B}}", r#"{"A":[1,2,3],"B":[9,3,2]}"#, "[2,3]")],
        eval: Eval::Strict(intersection),
        ..PLAIN
    },
];

fn create_array(given: &Given<'_>) -> Result<Value, RenderError> {
    let mut bytes = 0;
    for at in 0..given.len() {
        bytes += weight(given.value(at));
        given.fits(bytes)?;
    }
    Ok((0..given.len()).map(|at| given.value(at).clone()).collect())
}

fn array(given: &Given<'_>) -> Value {
    match given.value(0) {
        list @ Value::Array(_) => list.clone(),
        other => Value::Array(vec![other.clone()]),
    }
}

fn range(given: &Given<'_>) -> Result<Value, RenderError> {
    let (start, count) = (given.integer(0)?, given.count(1)?);
    if count > RANGE_ITEMS_MAX {
        return Err(given.fail(format_args!("makes at most {RANGE_ITEMS_MAX} integers")));
    }
    given.work(count)?;
    let end = i64::try_from(count).ok().and_then(|count| start.checked_add(count));
    let end = end.ok_or_else(|| given.fail("leaves the range of 64-bit integers"))?;
    given.built((start..end).collect())
}

fn chunk(given: &Given<'_>) -> Result<Value, RenderError> {
    let size = given.count(1)?;
    if size == 0 {
        return Err(given.fail("wants a length above zero"));
    }
    match given.value(0) {
        Value::Array(items) => {
            given.work(items.len())?;
            Ok(items.chunks(size).map(|piece| Value::Array(piece.to_vec())).collect())
        }
        Value::String(text) => {
            let units: Vec<u16> = text.encode_utf16().collect();
            given.work(units.len() / size)?;
            given.fits(units.len())?;
            units.chunks(size).map(|piece| of_units(given, piece)).collect()
        }
        other => Err(given.wants(0, "a text or a list", other)),
    }
}

/// Text of UTF-16 units; half of a character is none.
pub(super) fn of_units(given: &Given<'_>, units: &[u16]) -> Result<Value, RenderError> {
    String::from_utf16(units).map(Value::String).map_err(|_| given.fail("would cut a character in two"))
}

/// The part of a list or a text that `which` names, given the count and the length.
fn part(given: &Given<'_>, which: fn(usize, usize) -> std::ops::Range<usize>) -> Result<Value, RenderError> {
    let count = given.count(1)?;
    match given.value(0) {
        Value::Array(items) => Ok(Value::Array(items[which(count, items.len())].to_vec())),
        Value::String(text) => {
            let units: Vec<u16> = text.encode_utf16().collect();
            of_units(given, &units[which(count, units.len())])
        }
        other => Err(given.wants(0, "a text or a list", other)),
    }
}

fn reverse(given: &Given<'_>) -> Result<Value, RenderError> {
    let items = given.list(0)?;
    given.work(items.len())?;
    Ok(items.iter().rev().cloned().collect())
}

fn sort(given: &Given<'_>) -> Result<Value, RenderError> {
    let mut items: Vec<&Value> = given.list(0)?.iter().collect();
    given.work(items.len())?;
    let key = (given.len() > 1).then(|| given.solid_text(1)).transpose()?;
    let by = |item: &'_ Value| -> Value {
        match key {
            Some(key) => property(item, key).cloned().unwrap_or_default(),
            None => item.clone(),
        }
    };
    let mut keyed: Vec<(Value, &Value)> = items.drain(..).map(|item| (by(item), item)).collect();
    let mut comparable = true;
    keyed.sort_by(|(left, _), (right, _)| {
        compare(left, right).unwrap_or_else(|| {
            comparable = false;
            Ordering::Equal
        })
    });
    if !comparable || keyed.len() == 1 && compare(&keyed[0].0, &keyed[0].0).is_none() {
        let help = if key.is_some() { "" } else { "; objects are sorted by a key: (sort list 'Name')" };
        return Err(given.fail(format_args!("wants texts alone, numbers alone or booleans alone to sort{help}")));
    }
    Ok(keyed.into_iter().map(|(_, item)| item.clone()).collect())
}

/// The order of two values of one kind; null before everything.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Null, _) => Some(Ordering::Less),
        (_, Value::Null) => Some(Ordering::Greater),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => order(left, right),
        // By UTF-16 units, as there: characters beyond the basic plane stand before the last ones of it.
        (Value::String(left), Value::String(right)) => Some(left.encode_utf16().cmp(right.encode_utf16())),
        _ => None,
    }
}

/// All arguments as lists, or all as objects.
enum Same<'g> {
    Lists(Vec<&'g [Value]>),
    Objects(Vec<&'g Map<String, Value>>),
}

fn same<'g>(given: &'g Given<'_>) -> Result<Same<'g>, RenderError> {
    let indexes = 0..given.len();
    let (mut bytes, mut items) = (0, 0);
    for at in indexes.clone() {
        bytes += weight(given.value(at));
        items += given.value(at).as_array().map_or(0, Vec::len);
        given.fits(bytes)?;
    }
    given.work(items)?;
    if given.value(0).is_array() {
        Ok(Same::Lists(indexes.map(|at| given.list(at)).collect::<Result<_, _>>()?))
    } else if given.value(0).is_object() {
        Ok(Same::Objects(indexes.map(|at| given.object(at)).collect::<Result<_, _>>()?))
    } else {
        Err(given.wants(0, "a list or an object", given.value(0)))
    }
}

fn union(given: &Given<'_>) -> Result<Value, RenderError> {
    match same(given)? {
        Same::Lists(lists) => {
            let mut seen = HashSet::new();
            let items = lists.into_iter().flatten();
            Ok(items.filter(|item| seen.insert(*item)).cloned().collect())
        }
        Same::Objects(objects) => {
            let mut all = Map::new();
            for (key, value) in objects.into_iter().flatten() {
                all.insert(key.clone(), value.clone());
            }
            Ok(Value::Object(all))
        }
    }
}

fn intersection(given: &Given<'_>) -> Result<Value, RenderError> {
    match same(given)? {
        Same::Lists(lists) => {
            let others: Vec<HashSet<&Value>> = lists[1..].iter().map(|list| list.iter().collect()).collect();
            let mut seen = HashSet::new();
            let in_all = |item: &&Value| others.iter().all(|list| list.contains(item));
            Ok(lists[0].iter().filter(in_all).filter(|item| seen.insert(*item)).cloned().collect())
        }
        Same::Objects(objects) => {
            let in_all = |(key, value): &(&String, &Value)| {
                objects[1..].iter().all(|object| object.get(key.as_str()) == Some(*value))
            };
            let kept = objects[0].iter().filter(in_all).map(|(key, value)| (key.clone(), value.clone()));
            Ok(Value::Object(kept.collect()))
        }
    }
}
