//! The `create_record` action.

/// The `create_record` action.
#[derive(Debug, Clone, Copy)]
pub struct CreateRecord;

impl super::Action for CreateRecord {
    fn spec(&self) -> crate::flow::catalogue::ActionSpec {
        unimplemented!()
    }
    fn start(&self, _: &serde_json::Value, _: &super::StartContext) -> Result<super::Next, crate::run::Failure> {
        unimplemented!()
    }
}
