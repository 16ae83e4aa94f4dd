//! Category trees and the crosswalks from a department's own categories.

use std::collections::BTreeMap;

use super::error::{CityError, did_you_mean};

/// A category of the city's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Code, e.g. `noise.construction`.
    pub code: String,
    /// Code of the parent.
    pub parent: Option<String>,
    /// Name.
    pub name: String,
    /// Name in Chinese.
    pub name_zh: String,
    /// 1..5; 0 unknown. Inherited from the parent where the file has none.
    pub severity: u8,
}

/// A tree of categories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CategoryTree {
    categories: BTreeMap<String, Category>,
}

impl CategoryTree {
    /// Reads `code,parent,name,name_zh,severity`; problems are added to `errors`.
    pub fn read(file: &str, text: &str, errors: &mut Vec<CityError>) -> Self {
        let mut tree = Self::default();
        let mut lines = BTreeMap::new();
        for (line, row) in rows(file, text, &["code", "parent", "name", "name_zh", "severity"], errors) {
            let [code, parent, name, name_zh, severity] = row.as_slice() else {
                continue;
            };
            let severity = match severity.as_str() {
                "" => 0,
                text => text
                    .parse()
                    .ok()
                    .filter(|severity| (1..=5).contains(severity))
                    .unwrap_or_else(|| {
                        errors.push(CityError::at(file, (line, 0), "severity must be 1 to 5, or empty"));
                        0
                    }),
            };
            let category = Category {
                code: code.clone(),
                parent: (!parent.is_empty()).then(|| parent.clone()),
                name: name.clone(),
                name_zh: name_zh.clone(),
                severity,
            };
            lines.insert(code.clone(), line);
            if tree.categories.insert(code.clone(), category).is_some() {
                errors.push(CityError::at(
                    file,
                    (line, 0),
                    format!("category \"{code}\" stands twice"),
                ));
            }
        }
        for (code, line) in &lines {
            if let Err(problem) = tree.check_parents(code) {
                errors.push(CityError::at(file, (*line, 0), problem));
            }
        }
        let severities: Vec<(String, u8)> = tree
            .categories
            .keys()
            .map(|code| (code.clone(), tree.inherited_severity(code)))
            .collect();
        for (code, severity) in severities {
            if let Some(category) = tree.categories.get_mut(&code) {
                category.severity = severity;
            }
        }
        tree
    }

    fn check_parents(&self, code: &str) -> Result<(), String> {
        let mut seen = vec![code];
        let mut at = code;
        while let Some(parent) = self.categories.get(at).and_then(|category| category.parent.as_deref()) {
            if seen.contains(&parent) {
                return Err(format!("category \"{code}\" is its own ancestor"));
            }
            if !self.categories.contains_key(parent) {
                let hint = did_you_mean(parent, self.categories.keys().map(String::as_str));
                return Err(format!("category \"{at}\" has the unknown parent \"{parent}\"{hint}"));
            }
            seen.push(parent);
            at = parent;
        }
        Ok(())
    }

    fn inherited_severity(&self, code: &str) -> u8 {
        let mut at = Some(code);
        // A cycle, already told, ends at the tree's size.
        for _ in 0..=self.categories.len() {
            match at.and_then(|code| self.categories.get(code)) {
                Some(category) if category.severity > 0 => return category.severity,
                Some(category) => at = category.parent.as_deref(),
                None => break,
            }
        }
        0
    }

    /// A category by its code.
    pub fn get(&self, code: &str) -> Option<&Category> {
        self.categories.get(code)
    }

    /// All categories, in order of code.
    pub fn iter(&self) -> impl Iterator<Item = &Category> {
        self.categories.values()
    }
}

/// From a department's own categories to the tree's codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crosswalk {
    exact: BTreeMap<String, String>,
    /// Longest first.
    prefixes: Vec<(String, String)>,
}

impl Crosswalk {
    /// Reads `source,code`; a source that ends in `*` is a prefix. Problems are added to `errors`.
    pub fn read(file: &str, text: &str, tree: &CategoryTree, errors: &mut Vec<CityError>) -> Self {
        let mut crosswalk = Self::default();
        for (line, row) in rows(file, text, &["source", "code"], errors) {
            let [source, code] = row.as_slice() else { continue };
            if tree.get(code).is_none() {
                let hint = did_you_mean(code, tree.categories.keys().map(String::as_str));
                errors.push(CityError::at(
                    file,
                    (line, 0),
                    format!("the tree has no category \"{code}\"{hint}"),
                ));
            }
            match source.strip_suffix('*') {
                Some(prefix) => crosswalk.prefixes.push((prefix.to_owned(), code.clone())),
                None => {
                    if crosswalk.exact.insert(source.clone(), code.clone()).is_some() {
                        errors.push(CityError::at(file, (line, 0), format!("\"{source}\" stands twice")));
                    }
                }
            }
        }
        crosswalk
            .prefixes
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        crosswalk
    }

    /// The tree's code of a department's category.
    pub fn map(&self, source: &str) -> Option<&str> {
        let source = source.trim();
        self.exact
            .get(source)
            .or_else(|| {
                self.prefixes
                    .iter()
                    .find(|(prefix, _)| source.starts_with(prefix))
                    .map(|(_, code)| code)
            })
            .map(String::as_str)
    }
}

/// Rows of a CSV file with exactly this header, trimmed, with their lines. Quoted fields may hold commas and doubled quotes.
fn rows(file: &str, text: &str, header: &[&str], errors: &mut Vec<CityError>) -> Vec<(u32, Vec<String>)> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number as u32 + 1, fields(line)));
    match lines.next() {
        Some((_, first)) if first == header => {}
        _ => {
            errors.push(CityError::at(
                file,
                (1, 0),
                format!("the header must be \"{}\"", header.join(",")),
            ));
            return Vec::new();
        }
    }
    lines
        .filter(|(_, row)| row.iter().any(|field| !field.is_empty()))
        .filter_map(|(line, row)| {
            if row.len() == header.len() {
                return Some((line, row));
            }
            let problem = format!("the row has {} fields, the header {}", row.len(), header.len());
            errors.push(CityError::at(file, (line, 0), problem));
            None
        })
        .collect()
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                push(&mut fields, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => push(&mut fields, other),
        }
    }
    fields.iter().map(|field| field.trim().to_owned()).collect()
}

fn push(fields: &mut [String], character: char) {
    if let Some(field) = fields.last_mut() {
        field.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str =
        "code,parent,name,name_zh,severity\nnoise,,Noise,噪声,2\nnoise.night,noise,\"Noise, at night\",夜间噪声,\n";

    #[test]
    fn severity_is_inherited_and_the_longest_prefix_wins() {
        let mut errors = Vec::new();
        let tree = CategoryTree::read("c.csv", TREE, &mut errors);
        let walk = Crosswalk::read(
            "w.csv",
            "source,code\n06*,noise\n0612*,noise.night\nX,noise\n",
            &tree,
            &mut errors,
        );
        assert_eq!(errors, []);
        assert_eq!(tree.get("noise.night").map(|category| category.severity), Some(2));
        assert_eq!(
            tree.get("noise.night").map(|category| category.name.as_str()),
            Some("Noise, at night")
        );
        assert_eq!(walk.map("061299"), Some("noise.night"));
        assert_eq!(walk.map("069999"), Some("noise"));
        assert_eq!(walk.map(" X "), Some("noise"));
        assert_eq!(walk.map("Y"), None);
    }

    #[test]
    fn unknown_parents_cycles_and_targets_are_told_with_their_line() {
        let mut errors = Vec::new();
        let text = "code,parent,name,name_zh,severity\na,b,A,,\nb,a,B,,\nc,nois,C,,9\nnoise,,N,,\n";
        let tree = CategoryTree::read("c.csv", text, &mut errors);
        Crosswalk::read("w.csv", "source,code\nX,noice\n", &tree, &mut errors);
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(
            told.iter()
                .any(|error| error.contains("c.csv:2") && error.contains("own ancestor")),
            "{told:?}"
        );
        assert!(
            told.iter()
                .any(|error| error.contains("c.csv:4") && error.contains("did you mean \"noise\"?")),
            "{told:?}"
        );
        assert!(told.iter().any(|error| error.contains("severity must be")), "{told:?}");
        assert!(
            told.iter()
                .any(|error| error.contains("w.csv:2") && error.contains("noise")),
            "{told:?}"
        );
    }
}
