//! The text of `help`.

use std::io::Write;

use crate::failure::{Failure, NAME};
use crate::options::{entry_options, kind, set_options};
use crate::session::written;
use crate::syntax::Command;

/// Writes what there is to know, and what of a type.
pub(crate) fn write(out: &mut impl Write, type_name: Option<&str>) -> Result<(), Failure> {
    write!(out, "{NAME}\n\n{}", include_str!("help.txt")).map_err(|error| written(&error))?;
    let Some(name) = type_name else { return Ok(()) };
    let kind = kind(name).map_err(|_| Failure::usage(format!("Unknown settype: `{name}'")))?;
    let list = |options: Vec<&str>| options.iter().map(|option| format!(" [{option}]")).collect::<String>();
    let mut text = format!("\n{kind}:\n  create SETNAME {kind}{}\n", list(set_options(kind)));
    for command in [Command::Add, Command::Del, Command::Test] {
        text.push_str(&format!("  {} SETNAME ENTRY{}\n", command.name(), list(entry_options(kind, command))));
    }
    out.write_all(text.as_bytes()).map_err(|error| written(&error))
}
