//! The `respond` action.

/// The `respond` action.
#[derive(Debug, Clone, Copy)]
pub struct Respond;

impl super::Action for Respond {
    fn spec(&self) -> crate::flow::catalogue::ActionSpec {
        unimplemented!()
    }
    fn start(&self, _: &serde_json::Value, _: &super::StartContext) -> Result<super::Next, crate::run::Failure> {
        unimplemented!()
    }
}
