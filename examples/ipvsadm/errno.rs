//! Texts of error numbers, as the originals print them.

use std::io;

use nix::libc::{
    EADDRINUSE, EADDRNOTAVAIL, EBUSY, ECONNREFUSED, EHOSTUNREACH, EIO, EISCONN, ELOOP, EMFILE, EMSGSIZE, ENAMETOOLONG,
    ENETUNREACH, ENOMEM, ENOTCONN, ENOTTY, EOPNOTSUPP, EOVERFLOW, ERANGE, EXDEV,
};

/// Texts of glibc that differ from those of musl, with which static programs are built.
const TEXTS: &[(i32, &str)] = &[
    (EADDRINUSE, "Address already in use"),
    (EADDRNOTAVAIL, "Cannot assign requested address"),
    (EBUSY, "Device or resource busy"),
    (ECONNREFUSED, "Connection refused"),
    (EHOSTUNREACH, "No route to host"),
    (EIO, "Input/output error"),
    (EISCONN, "Transport endpoint is already connected"),
    (ELOOP, "Too many levels of symbolic links"),
    (EMFILE, "Too many open files"),
    (EMSGSIZE, "Message too long"),
    (ENAMETOOLONG, "File name too long"),
    (ENETUNREACH, "Network is unreachable"),
    (ENOMEM, "Cannot allocate memory"),
    (ENOTCONN, "Transport endpoint is not connected"),
    (ENOTTY, "Inappropriate ioctl for device"),
    (EOPNOTSUPP, "Operation not supported"),
    (EOVERFLOW, "Value too large for defined data type"),
    (ERANGE, "Numerical result out of range"),
    (EXDEV, "Invalid cross-device link"),
];

/// The text of an error number.
pub(crate) fn text(number: i32) -> String {
    if let Some((_, text)) = TEXTS.iter().find(|(of, _)| *of == number) {
        return (*text).to_owned();
    }
    let text = io::Error::from_raw_os_error(number).to_string();
    match text.split(" (os error").next().unwrap_or_default() {
        "No error information" => format!("Unknown error {number}"),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn the_texts_are_those_of_glibc() {
        for number in 1..200 {
            let all = io::Error::from_raw_os_error(number).to_string();
            assert_eq!(text(number), all.split(" (os error").next().unwrap(), "{number}");
        }
    }
}
