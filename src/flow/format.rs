//! Declarations of the flow file: serde + schemars; from them come parsing, the linter and the editor schema.
