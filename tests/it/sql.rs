//! Tables of real databases as destinations: what a flow wants is what the table holds in the end, whatever happens on
//! the way.

mod broken;
mod rows;
mod served;
mod site;
mod types;
