use super::*;

fn codes(text: &str) -> Vec<(&'static str, u32, u32, String)> {
    let (_, findings) = parse("f.yaml", text);
    findings
        .into_iter()
        .map(|finding| (finding.code, finding.place.line, finding.place.column, finding.help.unwrap_or_default()))
        .collect()
}

fn doc(text: &str) -> Doc {
    let (doc, findings) = parse("f.yaml", text);
    assert_eq!(findings, [], "{text}");
    doc.expect("a document")
}

#[test]
fn values_keep_their_types_and_words_stay_words() {
    let doc = doc(
        "\u{feff}a: no\nb: yes\nc: true\nd: 12\ne: -1.5\nf: ~\ng:\nh: 2026-11-21\nn: 1:20\n'i': x\n1: y\nnull: z\n",
    );
    let want = serde_json::json!({"a": "no", "b": "yes", "c": true, "d": 12, "e": -1.5, "f": null, "g": null,
        "h": "2026-11-21", "n": "1:20", "i": "x", "1": "y", "null": "z"});
    assert_eq!(doc.value, want);
    assert_eq!(doc.key_place("/c"), Place { file: "f.yaml".into(), line: 3, column: 1, length: 1 });
    assert_eq!(doc.value_place("/c"), Place { file: "f.yaml".into(), line: 3, column: 4, length: 4 });
    assert_eq!(doc.value_place("/c/not/there").line, 3);
    assert_eq!(doc.value_place("/g"), doc.key_place("/g"), "an empty value is shown at its key");
}

#[test]
fn unquoted_templates_are_one_finding_each_and_reading_goes_on() {
    let text =
        "a:\n  - subject: {{trigger.body.X}}\nb: {{a}} and {{b}} # c\nc: {{#if x}}y{{/if}}\nd: [{{y}}, 2]\nz: 012\n";
    let found = codes(text);
    let helps: Vec<_> = found.iter().map(|(code, line, column, help)| (*code, *line, *column, help.as_str())).collect();
    assert_eq!(
        helps,
        [
            ("unquoted_template", 2, 14, "write  subject: \"{{trigger.body.X}}\""),
            ("unquoted_template", 3, 4, "write  b: \"{{a}} and {{b}}\""),
            ("unquoted_template", 4, 4, "write  c: \"{{#if x}}y{{/if}}\""),
            ("unquoted_template", 5, 5, "write  \"{{y}}\""),
            ("ambiguous_number", 6, 4, "quote it: write  z: \"012\"   (or a plain number such as 12 or 1.5)"),
        ]
    );
    let (doc, _) = parse("f.yaml", text);
    let doc = doc.expect("a document all the same");
    assert_eq!(doc.value["b"], "{{a}} and {{b}}");
    assert_eq!(doc.value["d"], serde_json::json!(["{{y}}", 2]));
    assert_eq!(doc.place_within("/b", 10..15).column, 14);
}

#[test]
fn a_template_as_a_key_is_one_finding() {
    assert_eq!(codes("{{k}}: 3\nb: 1\n").len(), 1);
    assert_eq!(codes("{{k}}: 3\nb: 1\n")[0].0, "unquoted_template");
    assert_eq!(codes("a: {{json \"x\"}}\n")[0].3, "write  a: '{{json \"x\"}}'");
    assert_eq!(codes("a: {{f 'x' \"y\"}}\n")[0].3, "write  a: '{{f ''x'' \"y\"}}'");
}

#[test]
fn duplicate_keys_are_found_all_at_once_and_the_first_counts() {
    let (doc, findings) = parse("f.yaml", "x: 1\nx: 2\ny: {x: 1, x: 2}\nx: 3\n");
    let told: Vec<_> =
        findings.iter().map(|finding| (finding.code, finding.place.line, finding.place.column)).collect();
    assert_eq!(told, [("duplicate_key", 2, 1), ("duplicate_key", 3, 11), ("duplicate_key", 4, 1)]);
    assert!(findings[0].message.ends_with("the first one is in line 1"), "{}", findings[0].message);
    assert_eq!(doc.expect("a document").value, serde_json::json!({"x": 1, "y": {"x": 1}}));
}

#[test]
fn numbers_that_may_be_meant_as_text_must_be_quoted() {
    for raw in ["012", "1_000", "+16175555555", "123456789012345678901234567890", ".inf", "0x1F", "-012", "1.", "1e999"]
    {
        assert_eq!(codes(&format!("a: {raw}\n")).first().map(|found| found.0), Some("ambiguous_number"), "{raw}");
    }
    for raw in ["0", "-0", "12", "1.5", "1e5", "2.5E-3", "18446744073709551615", "-9223372036854775808", "'012'"] {
        assert_eq!(codes(&format!("a: {raw}\n")), [], "{raw}");
    }
}

#[test]
fn anchors_and_merge_keys_work_and_point_to_the_definition() {
    let doc = doc("base: &b {a: 1, t: '{{x}}'}\nz:\n  <<: *b\n  c: *b\n");
    assert_eq!(doc.value["z"]["a"], 1);
    assert_eq!(doc.value["z"]["c"]["t"], "{{x}}");
    assert_eq!(doc.place_within("/z/c/t", 0..5), Place { file: "f.yaml".into(), line: 1, column: 21, length: 5 });
}

#[test]
fn bombs_and_bottomless_nesting_fail_fast() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        let _ = writeln!(bomb, "a{level}: &a{level} [{aliases}]");
    }
    assert_eq!(codes(&bomb)[0].0, "file_too_large");
    assert!(["file_too_large", "yaml_syntax"].contains(&codes(&"[".repeat(20_000))[0].0));
    assert_eq!(codes(&"a: 1\n".repeat(300_000))[0].0, "file_too_large");
}

#[test]
fn syntax_errors_are_one_finding_in_our_words() {
    let cases = [
        ("a: b: c\n", 1, 4, "a text with `: ` in it needs quotes"),
        ("a: 1\n  b: 2\n", 2, 3, "a key cannot stand here: the line above already has a value"),
        ("a:\n\t- b\n", 2, 1, "a tab indents this line; YAML takes spaces only"),
        ("a: 1\nb: \"x\nc: 2\n", 2, 4, "this quote is never closed"),
        ("a: [1, 2\n", 1, 4, "this bracket is never closed"),
        ("a: {b: 1, c: [2\nd: 3\n", 1, 14, "this bracket is never closed"),
        ("a: @foo\n", 1, 4, "a text cannot start with `@` unless it is quoted"),
        ("a: 'it's'\n", 1, 8, "the text ended at the ' before this"),
        ("a: *nope\n", 1, 4, "a value that starts with `*` means an anchor, and none of this name stands above"),
        ("a: !foo x\n", 1, 4, "tags such as `!name` have no meaning here"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document starts here; a file holds one"),
        ("- a\nb: 1\n", 2, 1, "a list goes on here without `-`"),
    ];
    for (text, line, column, message) in cases {
        let (doc, findings) = parse("f.yaml", text);
        assert!(doc.is_none(), "{text}");
        let told: Vec<_> =
            findings.iter().map(|f| (f.code, f.place.line, f.place.column, f.message.as_str())).collect();
        assert_eq!(told, [("yaml_syntax", line, column, message)], "{text}");
    }
}

#[test]
fn ranges_within_block_scalars_are_exact() {
    let doc = doc("a: |\n\n  one {{x}}\n    two {{y}}\nb: >-\n  f1\n  {{z}}\n");
    let at = |pointer: &str, word: &str| {
        let start = doc.value.pointer(pointer).and_then(Value::as_str).and_then(|text| text.find(word)).expect(word);
        let place = doc.place_within(pointer, start..start + word.len());
        (place.line, place.column, place.length)
    };
    assert_eq!(at("/a", "{{x}}"), (3, 7, 5));
    assert_eq!(at("/a", "{{y}}"), (4, 9, 5));
    assert_eq!(at("/b", "{{z}}"), (7, 3, 5));
}

#[test]
fn pointers_read_like_paths() {
    assert_eq!(dotted("/actions/0/fields/a~1b"), "actions[0].fields.a/b");
    assert_eq!(dotted(""), "");
    assert_eq!(child("/a", "b/c~"), "/a/b~1c~0");
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(text in "[ab:{}\\[\\]\"'|>\\-\n\t #&*!0-9é]{0,60}") {
        let (doc, findings) = parse("f.yaml", &text);
        proptest::prop_assert!(doc.is_some() || !findings.is_empty());
    }
}
