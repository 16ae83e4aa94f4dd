//! Which files belong to a feed.

use std::path::{Path, PathBuf};

use shiyu_schemas::city::fill_variables;

use super::FileSettings;
use crate::OpenContext;

/// A file and the name it is known by: its path relative to where the search began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// All files of the feed, in order of name. With `--input`, a glob's part behind its variable is looked for below each input, at any depth.
pub(super) fn find(settings: &FileSettings, context: &OpenContext) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for pattern in &settings.paths {
        if context.inputs.is_empty() {
            // What stands behind a variable is the file's name, as it is with `--input`: so both name a file alike.
            if let Some((before, rest)) = pattern.rsplit_once("}/") {
                let root = fill_variables(&format!("{before}}}"), &context.variables)?;
                walk(&context.city_folder.join(root), "", rest, &mut found)?;
            } else {
                let (base, rest) = split_base(pattern);
                walk(&context.city_folder.join(base), "", &rest, &mut found)?;
            }
        } else {
            let rest = pattern.rsplit_once("}/").map_or(pattern.as_str(), |(_, rest)| rest);
            for input in &context.inputs {
                find_below(input, rest, &mut found)?;
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn find_below(input: &Path, rest: &str, found: &mut Vec<Found>) -> Result<(), String> {
    let metadata = std::fs::metadata(input).map_err(|error| format!("cannot open \"{}\": {error}", input.display()))?;
    if metadata.is_dir() {
        return walk(input, "", &format!("**/{rest}"), found);
    }
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let last = rest.rsplit('/').next().unwrap_or(rest);
    // Who names a file means it, hidden or not.
    if is_like(last, &name) {
        found.push(Found {
            name,
            path: input.to_owned(),
        });
    }
    Ok(())
}

/// The folders before the first wildcard, and the pattern behind them.
fn split_base(pattern: &str) -> (PathBuf, String) {
    let parts: Vec<&str> = pattern.split('/').collect();
    let wild = parts
        .iter()
        .position(|part| part.contains(['*', '?']))
        .unwrap_or(parts.len() - 1);
    let base = parts[..wild].join("/");
    let base = if base.is_empty() && pattern.starts_with('/') {
        "/".to_owned()
    } else {
        base
    };
    (PathBuf::from(base), parts[wild..].join("/"))
}

fn walk(folder: &Path, name: &str, pattern: &str, found: &mut Vec<Found>) -> Result<(), String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot list \"{}\": {error}", folder.display())),
    };
    for entry in entries {
        let entry = entry.map_err(|error| format!("cannot list \"{}\": {error}", folder.display()))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = if name.is_empty() {
            file
        } else {
            format!("{name}/{file}")
        };
        let path = entry.path();
        if path.is_dir() {
            walk(&path, &name, pattern, found)?;
        } else if matches(pattern, &name) {
            found.push(Found { name, path });
        }
    }
    Ok(())
}

/// Whether a path matches a pattern: `**` any folders, `*` anything within a name, `?` one character; none of them a hidden name.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    match_parts(&pattern, &path)
}

fn match_parts(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => {
            let seen = path.iter().take_while(|name| !is_hidden(name)).count();
            (0..=seen).any(|skip| match_parts(rest, &path[skip..]))
        }
        Some((first, rest)) => path.split_first().is_some_and(|(name, tail)| {
            if is_hidden(name) && first.starts_with(['*', '?']) {
                return false;
            }
            is_like(first, name) && match_parts(rest, tail)
        }),
    }
}

/// What is on its way (`.orders.csv.k3J9`, as rsync names it) or a program's own (`~$orders.xlsx`).
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name.starts_with("~$")
}

fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    match_name(&pattern, &name)
}

fn match_name(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skip| match_name(rest, &name[skip..])),
        Some((first, rest)) => name
            .split_first()
            .is_some_and(|(found, tail)| (*first == '?' || first == found) && match_name(rest, tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_what_shells_mean() {
        assert!(matches("police/*.csv", "police/2008-01.csv"));
        assert!(!matches("police/*.csv", "police/2008/2008-01.csv"));
        assert!(matches("**/20??-??.csv", "2008-01.csv"));
        assert!(matches("**/20??-??.csv", "police/2008/2008-01.csv"));
        assert!(!matches("**/20??-??.csv", "police/2008/2008.csv"));
        assert!(matches("a/**/b", "a/b"));
        assert!(!matches("*", ".orders.csv.k3J9"));
        assert!(!matches("*.csv", "~$orders.csv"));
        assert!(!matches("**/*.csv", ".cache/orders.csv"));
        assert!(matches(".cache/*.csv", ".cache/orders.csv"));
        assert!(matches("**/.orders.csv", "a/.orders.csv"));
    }

    #[test]
    fn the_search_begins_before_the_first_wildcard() {
        assert_eq!(
            split_base("/data/police/*.csv"),
            (PathBuf::from("/data/police"), "*.csv".to_owned())
        );
        assert_eq!(split_base("one.csv"), (PathBuf::from(""), "one.csv".to_owned()));
        assert_eq!(split_base("/one.csv"), (PathBuf::from("/"), "one.csv".to_owned()));
    }
}
