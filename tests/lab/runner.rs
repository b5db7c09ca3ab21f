//! Runs the product inside the world of a scenario and holds its report against the truth.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::expect::{Run, differences};
use crate::sandbox::PATH;
use crate::scenario::Scenario;
use crate::topology::Topology;
use crate::{Outcome, pki, servers, windows};

/// A run that takes longer than this hangs.
fn kill_after() -> Duration {
    let start = if windows::is_tested() {
        windows::START
    } else {
        Duration::ZERO
    };
    Duration::from_secs(30) + start
}

/// The world of a scenario, with everything in it listening.
pub(crate) struct World {
    pub(crate) topology: Topology,
    files: tempfile::TempDir,
}

impl World {
    pub(crate) fn build(scenario: &Scenario) -> Outcome<Self> {
        let files = tempfile::tempdir()?;
        let topology = Topology::build(scenario, files.path())?;
        servers::start(&topology, scenario)?;
        std::fs::write(
            files.path().join("trust.pem"),
            pki::trust_store(scenario.client.trusts_inspector),
        )?;
        Ok(Self { topology, files })
    }

    /// Runs a command in the client's namespaces to its end, and returns what it wrote.
    pub(crate) fn output(&self, mut command: Command) -> Outcome<Output> {
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?);
        let status = self.topology.client.run(move || finish(command.spawn()?))?;
        Ok(Output {
            status,
            stdout: std::fs::read(stdout)?,
            stderr: std::fs::read(stderr)?,
        })
    }

    /// A file of this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(crate) fn trust_store(&self) -> PathBuf {
        self.path("trust.pem")
    }

    /// The product, to be started in one of the namespaces.
    pub(crate) fn product(&self) -> Command {
        let mut command = match std::env::var_os("TUNNELCHECK_LAB_RUNNER") {
            Some(runner) => {
                let mut command = Command::new(runner);
                command.arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        command
            .env_clear()
            .env("PATH", PATH)
            .env("SSL_CERT_FILE", self.trust_store())
            .stdin(Stdio::null());
        command
    }
}

/// One trial: builds the world, runs the product, compares, keeps the report.
pub(crate) fn run(scenario: &Scenario) -> Outcome {
    let mut world = World::build(scenario)?;
    let (run, stderr) = check(scenario, &world)?;
    if let Some(wire) = &mut world.topology.wire {
        wire.finish()?;
    }
    let path = keep(
        &directory("TUNNELCHECK_LAB_OUT", "target/lab"),
        scenario,
        &run,
    )?;
    let differences = differences(scenario, &run);
    if differences.is_empty() {
        if std::env::var_os("TUNNELCHECK_LAB_RECORD").is_some() {
            record(scenario, &run)?;
        }
        return Ok(());
    }
    let log = if stderr.is_empty() {
        String::new()
    } else {
        format!("\nstandard error:\n{stderr}")
    };
    let lines = differences.join("\n  ");
    Err(format!(
        "{}\nThe report departs from the truth:\n  {lines}\nreport: {}{log}",
        scenario.about,
        path.display()
    )
    .into())
}

/// Runs the product as a child in the client's namespaces.
fn check(scenario: &Scenario, world: &World) -> Outcome<(Run, String)> {
    let mut command = world.product();
    command
        .args(["--format", "json"])
        .args(&scenario.args)
        .envs(&scenario.env);
    if let Some(user) = scenario.client.user {
        // The trust store is in a folder that only root may enter.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(world.files.path(), open)?;
        command.uid(user).gid(user);
    }
    let begun = Instant::now();
    let output = world.output(command)?;
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis())?;
    let stderr = String::from_utf8(output.stderr)?;
    let report = serde_json::from_slice(&output.stdout).map_err(|error| {
        format!(
            "no JSON on standard output ({error}), {}; standard error:\n{stderr}",
            output.status
        )
    })?;
    Ok((
        Run {
            report,
            exit_code: output.status.code(),
            elapsed_ms,
        },
        stderr,
    ))
}

pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TUNNELCHECK_LAB_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_tunnelcheck").into(), PathBuf::from)
}

/// Waits for the end, which is enforced.
fn finish(mut child: Child) -> Outcome<ExitStatus> {
    let timeout = kill_after();
    ends_within(&mut child, timeout)?
        .ok_or_else(|| format!("still running after {} s, killed", timeout.as_secs()).into())
}

/// Waits for the end of a child; one that does not come in time is killed, and has no status. The wait
/// is a poll because the standard library has no wait with a deadline.
pub(crate) fn ends_within(child: &mut Child, timeout: Duration) -> Outcome<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn keep(directory: &Path, scenario: &Scenario, run: &Run) -> Outcome<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(format!("{}.json", scenario.name));
    std::fs::write(&path, serde_json::to_string_pretty(&run.report)? + "\n")?;
    Ok(path)
}

/// Keeps the report as a case for the replay test, compact because there are many.
fn record(scenario: &Scenario, run: &Run) -> Outcome<()> {
    let cases = directory("", "tests/replay/cases");
    std::fs::create_dir_all(&cases)?;
    let path = cases.join(format!("{}.json", scenario.name));
    std::fs::write(path, run.report.to_string() + "\n")?;
    Ok(())
}

fn directory(variable: &str, default: &str) -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join(default);
    std::env::var_os(variable).map_or_else(default, PathBuf::from)
}

/// Opens a shell in the client's namespaces of one scenario's world, or runs a command there.
pub(crate) fn shell(scenarios: &[Scenario], name: &str) -> ExitCode {
    match scenarios
        .iter()
        .find(|scenario| scenario.name == name)
        .map(|one| (one, World::build(one)))
    {
        Some((scenario, Ok(world))) => interact(scenario, &world),
        Some((_, Err(error))) => crate::refuse(&error.to_string()),
        None => crate::refuse(&format!("there is no scenario called {name}")),
    }
}

fn interact(scenario: &Scenario, world: &World) -> ExitCode {
    let line = std::env::var_os("TUNNELCHECK_LAB_EXEC");
    let is_shell = line.is_none();
    let shell = std::env::var_os("SHELL").filter(|_| is_shell);
    let mut command = Command::new(shell.unwrap_or_else(|| "sh".into()));
    match line {
        Some(line) => {
            command.arg("-c").arg(line);
        }
        None => introduce(scenario, world),
    }
    command
        .env("SSL_CERT_FILE", world.trust_store())
        .env("PATH", PATH)
        .env("TUNNELCHECK", binary());
    match world.topology.client.run(move || command.status()) {
        // What a shell's last command returned is no result; a given command's is.
        Ok(_) if is_shell => ExitCode::SUCCESS,
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            code.map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => crate::refuse(&format!("the shell: {error}")),
    }
}

fn introduce(scenario: &Scenario, world: &World) {
    println!(
        "{}\nThe product: {} {}\nThe router: nsenter -t {} -n   The edge: nsenter -t {} -n",
        scenario.about,
        binary().display(),
        scenario.args.join(" "),
        world.topology.router.id,
        world.topology.edge.id,
    );
}
