//! Fuzzed entries of the connection tracker: an entry that can be read is written so that it reads as the same.

use super::flow::Flow;
use super::request::Change;
use crate::wire::nfnetlink;
use crate::wire::writer::written;

/// An input is a message's body: the header and the attributes.
pub fn run(data: &[u8]) {
    let Ok(attributes) = nfnetlink::attributes(data) else { return };
    let Ok(Some(flow)) = Flow::read(attributes) else { return };
    assert!(!format!("{flow:#} {flow:?}").is_empty());
    let bytes = written(|out| flow.write(out));
    assert_eq!(Flow::read(&bytes), Ok(Some(flow)));
    assert!(flow.is_stale(flow.original.destination, []));
    assert!(!flow.is_stale(flow.original.destination, [flow.reply.source]));
    let _ = Change::Delete(flow).check();
    let _ = written(|out| Change::Delete(flow).write(out));
}
