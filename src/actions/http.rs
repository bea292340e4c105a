//! The `http` action.

/// The `http` action.
#[derive(Debug, Clone, Copy)]
pub struct Http;

impl super::Action for Http {
    fn spec(&self) -> crate::flow::catalogue::ActionSpec {
        unimplemented!()
    }
    fn start(&self, _: &serde_json::Value, _: &super::StartContext) -> Result<super::Next, crate::run::Failure> {
        unimplemented!()
    }
}
