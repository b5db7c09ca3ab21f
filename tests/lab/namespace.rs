//! A network namespace as an operating-system thread.
//!
//! Linux namespaces belong to threads: sockets that a thread opens and children that it starts
//! live in its namespaces. So one test process holds a client, a router and an edge side by side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Outcome;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in namespaces of its own, which runs what it is sent on a tokio runtime.
///
/// Dropping it ends the thread and with it every server, interface and rule in there.
pub(crate) struct Namespace {
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// The thread's id, by which `ip link … netns` names this namespace.
    pub(crate) id: i32,
}

impl Namespace {
    /// A new network namespace.
    pub(crate) fn network(name: &str) -> Outcome<Self> {
        Self::with(name, CloneFlags::CLONE_NEWNET)
    }

    /// A new network namespace with mounts and a host name of its own, so that it can have its
    /// own `/etc/resolv.conf` and reports that do not name this machine.
    pub(crate) fn host(name: &str) -> Outcome<Self> {
        Self::with(
            name,
            CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS,
        )
    }

    fn with(name: &str, kinds: CloneFlags) -> Outcome<Self> {
        let (jobs, queue) = unbounded_channel();
        let (ready, entered) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let result = unshare(kinds).map(|()| nix::unistd::gettid().as_raw());
                let usable = result.is_ok();
                if ready.send(result).is_ok() && usable {
                    serve(queue);
                }
            })?;
        let id = entered
            .recv()?
            .map_err(|errno| format!("cannot make the {name} namespace: {errno}"))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            id,
        })
    }

    /// Runs `work` on the namespace's thread, inside its tokio runtime, and returns its result.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = std::sync::mpsc::channel::<Result<T, Box<dyn Any + Send>>>();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(sender.send(outcome));
        });
        self.jobs
            .as_ref()
            .expect("present until dropped")
            .send(job)
            .expect("the namespace thread lives");
        result
            .recv()
            .expect("the namespace thread answers")
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Runs jobs until the last sender is gone; servers that jobs spawned run in between.
fn serve(mut queue: UnboundedReceiver<Job>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        while let Some(job) = queue.recv().await {
            job();
        }
    });
}
