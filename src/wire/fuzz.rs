//! Answers of the controller of generic netlink.

use super::genl;
use super::writer::written;

/// An input is a message's body.
pub fn run(data: &[u8]) {
    if let Ok(name) = genl::family_name(data) {
        // No longer than what it was read from, and no zero byte in it.
        assert!(name.len() < data.len() && !name.contains('\0'));
        let asked = genl::family_request(name);
        assert_eq!(genl::family_name(&asked), Ok(name));
    }
    if let Ok(id) = genl::family_reply(data) {
        assert!(genl::split(data).is_ok());
        let body = written(|out| {
            genl::write_header(out, 1, 2);
            out.u16_ne(genl::Controller::FamilyId, id);
        });
        assert_eq!(genl::family_reply(&body), Ok(id));
    }
}
