//! The user's terminal as the terminal of the guest.
use anyhow::{Context, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{self, Stdin};
use std::process::{Command, Stdio};

/// A script that starts the best available shell, with the size of this terminal.
pub(crate) fn shell() -> String {
    let size = size().map(|(rows, columns)| format!("stty rows {rows} cols {columns}; ")).unwrap_or_default();
    format!("{size}if command -v bash >/dev/null; then exec bash; else exec sh; fi")
}

fn size() -> Option<(u16, u16)> {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    parse_size(&String::from_utf8_lossy(&output.stdout))
}

fn parse_size(text: &str) -> Option<(u16, u16)> {
    let (rows, columns) = text.trim().split_once(' ')?;
    Some((rows.parse().ok()?, columns.parse().ok()?))
}

/// The terminal in raw mode, until dropped.
pub(crate) struct Raw {
    terminal: Stdin,
    before: Termios,
}

impl Raw {
    pub(crate) fn enter() -> Result<Self> {
        let terminal = io::stdin();
        let before = tcgetattr(&terminal).context("the mode of the terminal")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).context("the mode of the terminal")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_numbers() {
        assert_eq!(parse_size("24 80\n"), Some((24, 80)));
        assert_eq!(parse_size("0"), None);
        assert_eq!(parse_size("a b"), None);
    }
}
