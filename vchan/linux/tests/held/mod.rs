//! What a process holds: files (eventfds apart), mappings of shared pages, threads that hand out offers.

use std::fs::{self, DirEntry};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    files: usize,
    mappings: usize,
    doors: usize,
}

impl Held {
    /// Of this process, as the kernel says.
    pub fn now() -> Self {
        Self::of("self")
    }

    /// Of the process with this id.
    pub fn of(process: &str) -> Self {
        let entries = |folder| fs::read_dir(format!("/proc/{process}/{folder}")).unwrap();
        let mappings = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        // A shared mapping has an `s` in its fourth place of permissions.
        let shared = |line: &&str| {
            line.split(' ')
                .nth(1)
                .is_some_and(|word| word.ends_with('s'))
        };
        Self {
            files: entries("fd")
                .filter(|file| file.as_ref().is_ok_and(counts))
                .count(),
            mappings: mappings.lines().filter(shared).count(),
            doors: entries("task")
                .filter(|task| task.as_ref().is_ok_and(is_door))
                .count(),
        }
    }
}

/// Each thread that has waited keeps an eventfd, and lets go of it some time after its test.
fn counts(file: &DirEntry) -> bool {
    fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() != "anon_inode:[eventfd]")
}

fn is_door(task: &DirEntry) -> bool {
    // A thread may be gone between the listing and the look.
    fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "vchan-door")
}

static ALONE: Mutex<()> = Mutex::new(());

/// As long as the guard lives, no other test of this file holds anything.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
