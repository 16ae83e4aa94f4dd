//! Reads YAML files of the folder: errors with line, column and the nearest right key, and where each key stands.

use serde::de::DeserializeOwned;

use super::error::{CityError, did_you_mean};

/// Reads one file.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CityError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map_or((0, 0), |location| (location.line() as u32, location.column() as u32));
        CityError::at(file, place, remedy(error.without_snippet()))
    })
}

/// The error's first line; an unknown key gets the nearest right one.
fn remedy(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let hint = did_you_mean(field, expected.iter().copied());
            format!("unknown key \"{field}\"{hint} (there are: {})", expected.join(", "))
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// Line and column (from 1) of a key given by its path, e.g. `map.occurred_at.sql`. Keys in flow style (`{ a: b }`) are found on the
/// line of the nearest key above them. `(0, 0)` where nothing of the path is there.
pub fn position_of(text: &str, path: &str) -> (u32, u32) {
    let wanted: Vec<&str> = path.split('.').collect();
    let mut best = (0, (0, 0));
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let Some((key, rest)) = trimmed.split_once(':') else {
            continue;
        };
        if trimmed.starts_with('#') || key.contains(['"', '\'', '{', '[', ' ']) {
            continue;
        }
        open.retain(|(at, _)| *at < indent);
        open.push((indent, key));
        let depth = open
            .iter()
            .zip(&wanted)
            .take_while(|((_, key), wanted)| key == *wanted)
            .count();
        if depth != open.len() || depth <= best.0 {
            continue;
        }
        best = (depth, (number as u32 + 1, indent as u32 + 1));
        if let Some(inner) = wanted.get(depth)
            && let Some(column) = flow_key(rest, inner)
        {
            best = (
                depth + 1,
                (number as u32 + 1, (indent + key.len() + 1 + column) as u32 + 1),
            );
        }
    }
    best.1
}

/// Byte of a key within `{ a: 1, b: 2 }`.
fn flow_key(rest: &str, key: &str) -> Option<usize> {
    if !rest.trim_start().starts_with('{') {
        return None;
    }
    rest.match_indices(&format!("{key}:"))
        .map(|(at, _)| at)
        .find(|&at| rest[..at].ends_with([' ', '{', ',']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::city::config::CityConfig;

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_the_nearest_right_one() {
        let error = read::<CityConfig>("city.yaml", "city: x\ntitel: X\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1));
        assert!(error.to_string().contains("did you mean \"title\"?"), "{error}");
    }

    #[test]
    fn keys_are_found_by_their_path() {
        let text = "feed: a\nmap:\n  id: x\n  occurred_at: { sql: a, formats: [\"%Y\"] }\n  place:\n    x: lng\n";
        assert_eq!(position_of(text, "map.id"), (3, 3));
        assert_eq!(position_of(text, "map.occurred_at.formats"), (4, 26));
        assert_eq!(position_of(text, "map.place.x"), (6, 5));
        assert_eq!(position_of(text, "map.place.y"), (5, 3));
        assert_eq!(position_of(text, "nothing"), (0, 0));
    }
}
