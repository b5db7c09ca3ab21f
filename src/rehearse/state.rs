//! Where a rehearsal keeps its lock and the rules from before: `/run/tunnelcheck`.
//!
//! The directory is in memory, as the rules of the kernel are: a reboot forgets both, and what the
//! system loads at boot is in force. A copy on disk would offer rules from before the reboot.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use thiserror::Error;

use super::snapshot::Snapshot;
use super::steps::Step;

/// The directory of all rehearsals of a host.
const HOME: &str = "/run/tunnelcheck";

/// Why no rehearsal can begin, before anything is touched.
#[derive(Debug, Error)]
pub enum StateError {
    /// The files cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        why: io::Error,
    },
    /// Somebody else could write there.
    #[error("{HOME} is not a directory that only root can write to; remove it")]
    NotOurs,
    /// Another rehearsal is under way.
    #[error("{0} is rehearsing rules; wait for its end")]
    Busy(String),
    /// A rehearsal ended without bringing the rules back.
    #[error(
        "a rehearsal has ended without bringing the old rules back; `tunnelcheck rehearse --restore` does, from {HOME}/rehearsal"
    )]
    Leftover,
    /// There is nothing that `--restore` could bring back.
    #[error("--restore: no rehearsal has left anything to bring back")]
    NothingLeft,
    /// The rules that were left are of another network namespace.
    #[error(
        "--restore: the rules that were left are those of another network namespace; run it in the one of \
         the rehearsal"
    )]
    Elsewhere,
    /// What was left cannot be read.
    #[error("{HOME}/rehearsal/snapshot.json cannot be read: {0}")]
    Unreadable(serde_json::Error),
}

/// The lock, held: by this process, and by every process that has a copy of its file.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
}

impl Lock {
    /// Takes the lock. The file tells who holds it, and then what the guard has to say.
    ///
    /// # Errors
    /// Where another rehearsal is under way, or the directory is not ours.
    pub fn take() -> Result<Self, StateError> {
        own_directory()?;
        let path = Path::new(HOME).join("lock");
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        options.custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(&path).map_err(at(&path))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let mut file = file.map_err(|(file, errno)| match errno {
            Errno::EWOULDBLOCK => StateError::Busy(holder(file)),
            other => at(&path)(other.into()),
        })?;
        let named = file.set_len(0);
        let named = named.and_then(|()| writeln!(file, "process {}", std::process::id()));
        named.map_err(at(&path))?;
        Ok(Self { file })
    }

    /// A copy of the file, which holds the lock as well until it is closed.
    ///
    /// # Errors
    /// The system's.
    pub fn share(&self) -> Result<File, StateError> {
        self.file.try_clone().map_err(at(Path::new(HOME)))
    }
}

fn holder(mut file: File) -> String {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    let first = text.lines().next().filter(|_| read.is_ok());
    first.unwrap_or("another process").to_owned()
}

fn own_directory() -> Result<(), StateError> {
    let home = Path::new(HOME);
    match DirBuilder::new().mode(0o700).create(home) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(at(home)(why)),
        _ => {}
    }
    let found = fs::symlink_metadata(home).map_err(at(home))?;
    let ours = found.is_dir() && found.uid() == 0 && found.mode().trailing_zeros() >= 6;
    ours.then_some(()).ok_or(StateError::NotOurs)
}

fn at(path: &Path) -> impl Fn(io::Error) -> StateError {
    let path = path.to_owned();
    move |why| StateError::File {
        path: path.clone(),
        why,
    }
}

/// The files of one rehearsal. Whoever has one holds the lock.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
}

impl State {
    /// The files of the rehearsal that is under way or was left.
    #[must_use]
    pub fn present() -> Self {
        Self {
            directory: Path::new(HOME).join("rehearsal"),
        }
    }

    /// Makes room for a new rehearsal.
    ///
    /// # Errors
    /// Where one has been left whose rules may be in force.
    pub fn make(_lock: &Lock) -> Result<Self, StateError> {
        let state = Self::present();
        if state.is_touched() {
            return Err(StateError::Leftover);
        }
        // Without the mark no rule was ever touched.
        state.remove()?;
        let directory = DirBuilder::new().mode(0o700).create(&state.directory);
        directory.map_err(at(&state.directory))?;
        Ok(state)
    }

    /// The rehearsal that was left.
    ///
    /// # Errors
    /// Where none was, or in another network namespace.
    pub fn left(_lock: &Lock) -> Result<(Self, Snapshot), StateError> {
        let state = Self::present();
        if !state.is_touched() {
            return Err(StateError::NothingLeft);
        }
        if state.read("namespace")? != namespace()? {
            return Err(StateError::Elsewhere);
        }
        let snapshot = state.snapshot()?;
        Ok((state, snapshot))
    }

    /// Stores the rules from before, and those that are rehearsed.
    ///
    /// # Errors
    /// The system's.
    pub fn store(&self, snapshot: &Snapshot, steps: &[Step]) -> Result<(), StateError> {
        let json = serde_json::to_vec(snapshot).map_err(StateError::Unreadable)?;
        self.write("snapshot.json", &json)?;
        self.write("namespace", namespace()?.as_bytes())?;
        // For a person who has to bring them back by hand.
        let ruleset = &snapshot.ruleset;
        for (name, text) in [
            ("old.nft", &ruleset.nft),
            ("old.ipv4", &ruleset.ipv4),
            ("old.ipv6", &ruleset.ipv6),
            ("old.legacy.ipv4", &ruleset.legacy_ipv4),
            ("old.legacy.ipv6", &ruleset.legacy_ipv6),
        ] {
            self.write(name, text.as_bytes())?;
        }
        let json = serde_json::to_vec(steps).map_err(StateError::Unreadable)?;
        self.write("steps.json", &json)?;
        let mut steps = steps.iter().enumerate();
        steps
            .try_for_each(|(index, step)| self.write(&format!("new.{index}"), step.text.as_bytes()))
    }

    /// The file that a step reads.
    #[must_use]
    pub fn step_file(&self, index: usize) -> PathBuf {
        self.path(&format!("new.{index}"))
    }

    /// The rules from before.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        serde_json::from_str(&self.read("snapshot.json")?).map_err(StateError::Unreadable)
    }

    /// What puts the rehearsed rules into force.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn steps(&self) -> Result<Vec<Step>, StateError> {
        serde_json::from_str(&self.read("steps.json")?).map_err(StateError::Unreadable)
    }

    /// Marks that rules are touched from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn touch(&self) -> Result<(), StateError> {
        self.write("touched", b"")
    }

    /// Whether rules may have been touched.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.path("touched").try_exists().unwrap_or(true)
    }

    /// Forgets the rehearsal. The mark goes first: one that is left alone, because this was cut short,
    /// would ask for a restoration that has nothing to restore from.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self) -> Result<(), StateError> {
        let mark = self.path("touched");
        match fs::remove_file(&mark) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(at(&mark)(why)),
            _ => {}
        }
        match fs::remove_dir_all(&self.directory) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(at(&self.directory)(why)),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn read(&self, name: &str) -> Result<String, StateError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(at(&path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path).map_err(at(&path))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(at(&path))
    }
}

/// Which network namespace this process is in.
fn namespace() -> Result<String, StateError> {
    let path = Path::new("/proc/self/ns/net");
    let link = fs::read_link(path).map_err(at(path))?;
    Ok(link.display().to_string())
}
