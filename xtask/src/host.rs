//! The programs of this machine: where they are, and how to get those that are missing.
use crate::step;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where administrators' programs are; often not on the PATH of a plain user.
const MORE_FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];

/// The path of a program of this machine.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The path of a program that must be there.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    which(name).with_context(|| format!("the program {name} is not installed"))
}

/// Installs programs, each with the Debian packages that have it, where they are missing.
pub(crate) fn install(wanted: &[(&str, &str)]) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the virtual machine needs an x86-64 host, this is {}", std::env::consts::ARCH);
    }
    let missing = || wanted.iter().filter(|(program, _)| which(program).is_none());
    let packages: Vec<&str> = missing().flat_map(|(_, packages)| packages.split(' ')).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if which("apt-get").is_none() {
        let programs: Vec<&str> = missing().map(|(program, _)| *program).collect();
        bail!("not installed: {}", programs.join(", "));
    }
    let list = packages.join(" ");
    if !nix::unistd::geteuid().is_root() {
        bail!("packages are missing; type: sudo apt-get install --no-install-recommends {list}");
    }
    step(format_args!("installing {list}"));
    let install = || apt_get(&["install", "-y", "--no-install-recommends", "-oDPkg::Lock::Timeout=300"], &packages);
    // The package lists may be missing or too old for what the archive has by now.
    install().or_else(|_| apt_get(&["update"], &[]).and_then(|()| install()))
}

fn apt_get(options: &[&str], packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(options).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    output_of(&mut command).map(drop)
}

/// Runs a program to its end and returns its output. The error of a failure is its last line with a reason.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output =
        command.env("LC_ALL", "C").stdin(Stdio::null()).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", reason(&errors).unwrap_or_else(|| output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the line of a program's errors with the reason. The last line of `apt` has none.
fn reason(errors: &str) -> Option<String> {
    const SUMMARIES: [&str; 2] = ["Some index files failed", "Unable to fetch some archives"];
    let lines = || errors.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = || lines().filter(|line| !SUMMARIES.iter().any(|summary| line.contains(summary)));
    let line = telling()
        .rfind(|line| line.starts_with("E:"))
        .or_else(|| telling().next_back())
        .or_else(|| lines().next_back())?;
    let text = ["E: ", "W: "].iter().find_map(|level| line.strip_prefix(level)).unwrap_or(line);
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_telling_line() {
        let text = "W: a warning\nE: Failed to fetch http://a/b  Could not resolve 'a'\nE: Some index files failed to download.\n";
        assert_eq!(reason(text).as_deref(), Some("Failed to fetch http://a/b  Could not resolve 'a'"));
        assert_eq!(reason("dpkg-deb: error: disk full\n\n").as_deref(), Some("dpkg-deb: error: disk full"));
        assert_eq!(reason("E: Some index files failed\n").as_deref(), Some("Some index files failed"));
        assert_eq!(reason(""), None);
    }

    #[test]
    fn a_failing_program_is_one_line() {
        let error = output_of(Command::new("sh").args(["-c", "echo first >&2; echo second >&2; exit 4"])).unwrap_err();
        assert_eq!(error.to_string(), "sh: second");
    }
}
