//! The text of `help`.

use std::io::{self, Write};

use crate::failure::{Failure, NAME};
use crate::options::{entry_options, kind, set_options};
use crate::session::written;
use crate::syntax::Command;
use crate::texts::{SUPPORTED, TYPES};

/// Writes the help text: that of all commands, and the supported types or the options of one type.
pub(crate) fn write(out: &mut impl Write, type_name: Option<&str>) -> Result<(), Failure> {
    write!(out, "{NAME}\n\n{}", include_str!("help.txt")).map_err(|error| written(&error))?;
    let Some(name) = type_name else { return write_types(out).map_err(|error| written(&error)) };
    let kind = kind(name).map_err(|_| Failure::usage(format!("Unknown settype: `{name}'")))?;
    let list = |options: Vec<&str>| options.iter().map(|option| format!(" [{option}]")).collect::<String>();
    let mut text = format!("\n{kind}:\n  create SETNAME {kind}{}\n", list(set_options(kind)));
    for command in [Command::Add, Command::Del, Command::Test] {
        text.push_str(&format!("  {} SETNAME ENTRY{}\n", command.name(), list(entry_options(kind, command))));
    }
    out.write_all(text.as_bytes()).map_err(|error| written(&error))
}

/// Writes the types and revisions. Programs look for exactly these lines to know what they can use.
fn write_types(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{SUPPORTED}")?;
    for (name, first, revisions) in TYPES {
        // The numbers of the revisions stand in one column.
        let tabs = if name.len() < 12 { "\t\t" } else { "\t" };
        for (at, brought) in revisions.iter().enumerate().rev() {
            writeln!(out, "    {name}{tabs}{}\t{brought}", first + at)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lvs::ipset::Kind;

    use super::*;

    #[test]
    fn each_type_is_supported_up_to_its_newest_revision() {
        assert_eq!(TYPES.len(), Kind::ALL.len());
        for (name, first, revisions) in TYPES {
            let kind: Kind = name.parse().unwrap();
            assert_eq!(usize::from(kind.revision()), first + revisions.len() - 1, "{name}");
        }
    }
}
