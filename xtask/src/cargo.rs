//! Builds the programs that go into the virtual machine.
use crate::host;
use crate::vm::arch::Arch;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Target of `cargo programs`.
const RELEASE_TARGET: &str = "x86_64-unknown-linux-musl";

/// A program that was built.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

/// Programs to build.
#[derive(Clone, Copy)]
pub(crate) enum Programs<'a> {
    /// The guest's own program.
    Guest,
    /// The tests that need a kernel.
    KernelTests,
    Example(&'a str),
    AllExamples,
    /// The service proxy, without its client of the API server, and its rolling update under load.
    ServiceProxy,
    /// The measurements that need a kernel.
    Bench,
}

/// The cargo that started this program, in the folder of the workspace.
pub(crate) fn command() -> Command {
    in_workspace(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The cargo of another toolchain, in the same folder.
pub(crate) fn of_toolchain(version: &str) -> Command {
    let mut command = in_workspace("rustup");
    command.args(["run", version, "cargo"]);
    command
}

fn in_workspace(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace());
    command
}

pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Builds programs for the guest and returns their paths.
pub(crate) fn build(programs: Programs<'_>, arch: &Arch) -> Result<Vec<Program>> {
    host::install(arch.build_tools)?;
    if !arch.native {
        add_target(arch.target)?;
    }
    let arguments: &[&str] = match programs {
        // Without the features, and so the dependencies, of the host's side.
        Programs::Guest => &["build", "--package=xtask", "--bin=guest", "--no-default-features"],
        Programs::KernelTests => &["test", "--package=lvs", "--all-features", "--test=kernel", "--no-run"],
        Programs::Example(name) => &["build", "--package=lvs", "--all-features", "--example", name],
        Programs::AllExamples => &["build", "--package=lvs", "--all-features", "--examples"],
        Programs::ServiceProxy => &[
            "build",
            "--package=service-proxy",
            "--no-default-features",
            "--bin=service-proxy",
            "--example=rolling_update",
        ],
        Programs::Bench => &["bench", "--package=lvs", "--bench=kernel", "--no-run"],
    };
    let mut command = command();
    command
        .args(arguments)
        .args(["--target", arch.target])
        // A folder of its own: other flags would make the normal build start over each time.
        .arg("--target-dir")
        .arg(target_folder()?.join("guest"))
        // At a fixed place: in an emulator, finding another one takes longer than many a program's work.
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
        // A tenth of the size, and the guest has all of it in memory.
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    if let Some(linker) = arch.linker {
        command.arg(format!("--config=target.{}.linker='{linker}'", arch.target));
    }
    programs_of(command)
}

/// Builds `ipvsadm-rs` and `ipset-rs` with the README's command.
pub(crate) fn build_released() -> Result<Vec<Program>> {
    add_target(RELEASE_TARGET)?;
    let mut command = command();
    command.arg("programs").env_remove("RUSTFLAGS");
    programs_of(command)
}

/// Installs the standard library of a target.
fn add_target(target: &str) -> Result<()> {
    let mut rustup = in_workspace("rustup");
    if !rustup.args(["--quiet", "target", "add", target]).status().context("running rustup")?.success() {
        bail!("rustup could not add the target {target}");
    }
    Ok(())
}

/// Runs a cargo that builds; returns the programs.
fn programs_of(mut command: Command) -> Result<Vec<Program>> {
    command.args(["--quiet", "--message-format=json-render-diagnostics"]).env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = command.stderr(Stdio::inherit()).output().context("running cargo")?;
    if !output.status.success() {
        bail!("cargo could not build the programs for the virtual machine");
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// Builds what makes one program.
pub(crate) fn build_one(programs: Programs<'_>, arch: &Arch) -> Result<PathBuf> {
    let built = build(programs, arch)?;
    built.into_iter().next().map(|program| program.file).context("cargo built no program")
}

/// Builds a static C program that does nothing, the least that a process costs. Static programs for the guest need the C compiler
/// and the static C library, too.
pub(crate) fn build_nothing() -> Result<PathBuf> {
    let program = target_folder()?.join("guest/nothing");
    let mut command = Command::new("cc");
    command.args(["-O2", "-static", "-x", "c", "-", "-o"]).arg(&program).stdin(Stdio::piped());
    let mut compiler = command.spawn().context("running cc")?;
    let mut source = compiler.stdin.take().context("cc has no input")?;
    source.write_all(b"int main(void) { return 0; }\n")?;
    drop(source);
    if !compiler.wait()?.success() {
        bail!("cc could not build a static C program");
    }
    Ok(program)
}

/// The workspace's target folder: the one this very program was built into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let output = command().args(["metadata", "--format-version=1", "--no-deps"]).stderr(Stdio::inherit()).output();
    let metadata: Value = serde_json::from_slice(&output.context("running cargo")?.stdout)
        .context("reading the metadata of the workspace")?;
    let folder = metadata.get("target_directory").and_then(Value::as_str);
    folder.map(PathBuf::from).context("cargo does not say where it builds")
}

/// The programs that cargo's messages tell of.
fn executables(messages: &str) -> Vec<Program> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| {
            let file = PathBuf::from(message.get("executable")?.as_str()?);
            let name = message.get("target")?.get("name")?.as_str()?.to_owned();
            Some(Program { name, file })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"quickstart","kind":["example"]},"executable":"/t/quickstart"}
{"reason":"build-finished","success":true}"#;
        let found: Vec<_> = executables(messages).into_iter().map(|program| (program.name, program.file)).collect();
        assert_eq!(found, [("quickstart".to_owned(), PathBuf::from("/t/quickstart"))]);
    }
}
