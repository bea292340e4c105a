//! The `compose` action.

/// The `compose` action.
#[derive(Debug, Clone, Copy)]
pub struct Compose;

impl super::Action for Compose {
    fn spec(&self) -> crate::flow::catalogue::ActionSpec {
        unimplemented!()
    }
    fn start(&self, _: &serde_json::Value, _: &super::StartContext) -> Result<super::Next, crate::run::Failure> {
        unimplemented!()
    }
}
