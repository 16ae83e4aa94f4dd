//! Named points around every effect, where tests make the process die or the disk fail, and planted bugs the fault lab must catch.
//!
//! Only a build with the feature `fault-injection` has them; elsewhere a point is nothing and a bug is never there. They are chosen when
//! the process starts:
//!
//! - `SHIYU_FAULT="point=abort@3"`: the third time the point is passed the process aborts; without `@` the first time
//! - `SHIYU_FAULT="point=error:ENOSPC@5-9"`: the point fails from the fifth to the ninth time (`ENOSPC`, `EDQUOT` or `EIO`)
//! - several, separated by `;`
//! - `SHIYU_BUG=name`: plants one bug of [`BUGS`]

/// Every point and what comes behind it.
pub const POINTS: &[(&str, &str)] = &[
    ("log.append", "a write to a segment"),
    ("log.sync", "the sync of that write"),
    ("log.synced", "telling readers and whoever appended"),
    ("log.create", "a new segment file"),
    ("log.created", "the sync of its folder"),
    ("log.trim", "removal of trimmed segments"),
    ("replace.rename", "a small durable file taking its name"),
    ("position.append", "the position of a source"),
    ("position.appended", "what follows it"),
    ("fold.commit", "the one commit of an epoch"),
    ("fold.between", "the rest of a commit that a planted bug has split"),
    ("fold.committed", "its effects"),
    ("cells.append", "changes of counts into their topic"),
    ("cells.appended", "handing rows to the tables"),
    ("table.write", "a data file of a table"),
    ("table.commit", "a commit of a table"),
    ("table.committed", "the commit of the next table, or the snapshot"),
    ("snapshot.replace", "publishing the snapshot"),
    ("snapshot.replaced", "what follows it"),
    ("outbox.trim", "taking epochs out of the outbox"),
    ("outbox.trimmed", "what follows it"),
    ("push.answer", "the answer to a push, everything durable"),
    ("rejections.appended", "the events of the same push or delivery"),
];

/// Every planted bug and what it does.
pub const BUGS: &[(&str, &str)] = &[
    ("offset-before-state", "the fold's offset is committed before its state"),
    ("ack-before-sync", "an append is acknowledged before the sync"),
    ("no-folder-sync", "a new segment's folder is not synced"),
    (
        "dedupe-key-apart",
        "dedupe keys are committed in a batch before the rest",
    ),
    ("sync-retried", "a failed sync is tried again and believed"),
    (
        "txn-not-read",
        "the table writer does not read which epochs a table has",
    ),
    ("epoch-reused", "after a restart the last epoch's number is used again"),
    ("trim-too-early", "the log is trimmed one segment too far"),
    (
        "rejection-after-position",
        "rejections are written after the position that covers them",
    ),
    ("late-overwrites", "a version that comes late replaces a newer one"),
    ("wall-clock-watermark", "the watermark follows the wall clock"),
    (
        "no-retraction",
        "a new version's counts come without taking back the old one's",
    ),
    (
        "outbox-trimmed-first",
        "the outbox is trimmed before the tables are committed",
    ),
];

/// Passes a point: fails or aborts where a test asks for it.
#[cfg(not(feature = "fault-injection"))]
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "it fails in builds for the fault lab")]
pub fn point(_name: &str) -> std::io::Result<()> {
    Ok(())
}

/// Whether a bug is planted.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn bug(_name: &str) -> bool {
    false
}

/// [`point`] before or after an effect that is no file operation of the log's own.
pub fn pass(name: &'static str) -> Result<(), crate::LogError> {
    point(name).map_err(|source| crate::LogError::State {
        action: name,
        source: Box::new(source),
    })
}

#[cfg(feature = "fault-injection")]
pub use injected::{bug, point};

#[cfg(feature = "fault-injection")]
mod injected {
    use std::collections::HashMap;
    use std::io;
    use std::ops::RangeInclusive;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{BUGS, POINTS};

    #[derive(Debug, Clone, Copy)]
    enum Action {
        Abort,
        Error(i32),
    }

    #[derive(Debug)]
    struct Fault {
        action: Action,
        /// Which times the point is passed.
        times: RangeInclusive<u64>,
        passed: AtomicU64,
    }

    static FAULTS: LazyLock<HashMap<String, Fault>> = LazyLock::new(|| {
        let text = std::env::var("SHIYU_FAULT").unwrap_or_default();
        let faults = text.split(';').filter(|fault| !fault.is_empty());
        faults
            .map(|fault| parse(fault).unwrap_or_else(|problem| refuse("SHIYU_FAULT", fault, problem)))
            .collect()
    });

    static BUG: LazyLock<Option<String>> = LazyLock::new(|| {
        let name = std::env::var("SHIYU_BUG").ok().filter(|name| !name.is_empty())?;
        if BUGS.iter().all(|(known, _)| *known != name) {
            refuse("SHIYU_BUG", &name, "no such bug");
        }
        Some(name)
    });

    /// A test that asks for what does not exist would pass for nothing.
    fn refuse(variable: &str, text: &str, problem: &str) -> ! {
        tracing::error!(variable, text, problem, "cannot plant a fault");
        std::process::abort()
    }

    fn parse(text: &str) -> Result<(String, Fault), &'static str> {
        let (name, action) = text.split_once('=').ok_or("write point=action")?;
        if POINTS.iter().all(|(known, _)| *known != name) {
            return Err("no such point");
        }
        let (action, times) = action.split_once('@').unwrap_or((action, "1"));
        let action = match action {
            "abort" => Action::Abort,
            "error:ENOSPC" => Action::Error(28),
            "error:EDQUOT" => Action::Error(122),
            "error:EIO" => Action::Error(5),
            _ => return Err("the action is abort, error:ENOSPC, error:EDQUOT or error:EIO"),
        };
        let (first, last) = times.split_once('-').unwrap_or((times, times));
        let number = |text: &str| text.parse().map_err(|_no_number| "write @n or @n-m");
        let fault = Fault {
            action,
            times: number(first)?..=number(last)?,
            passed: AtomicU64::new(0),
        };
        Ok((name.to_owned(), fault))
    }

    /// Passes a point: fails or aborts where a test asks for it.
    pub fn point(name: &str) -> io::Result<()> {
        debug_assert!(
            POINTS.iter().any(|(known, _)| *known == name),
            "{name} is not in the list"
        );
        let Some(fault) = FAULTS.get(name) else {
            return Ok(());
        };
        let time = fault.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if !fault.times.contains(&time) {
            return Ok(());
        }
        match fault.action {
            Action::Abort => std::process::abort(),
            Action::Error(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Whether a bug is planted.
    pub fn bug(name: &str) -> bool {
        debug_assert!(
            BUGS.iter().any(|(known, _)| *known == name),
            "{name} is not in the list"
        );
        BUG.as_deref() == Some(name)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(feature = "fault-injection"))]
    #[test]
    fn a_normal_build_has_no_faults() {
        assert!(super::point("log.append").is_ok());
        assert!(!super::bug("ack-before-sync"));
        assert!(super::point("no such point").is_ok());
    }
}
