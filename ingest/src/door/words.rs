//! Words of the department that repeat in a batch: categories, statuses, holders. Each is looked up and scrubbed once per batch.

use ahash::AHashMap;
use arrow::array::StringArray;
use shiyu_schemas::code::Code as _;
use shiyu_schemas::lifecycle::state_of_term;
use shiyu_schemas::v1;

use super::scrub::scrub;
use super::{Problem, text_at};

/// Category code and severity (0 = unknown) of a department's own category; `None` where the crosswalk has none.
pub type CategoryLookup = dyn Fn(&str) -> Option<(String, u32)> + Send + Sync;

/// One word of a batch and what it means.
#[derive(Debug, Clone, Default)]
pub(super) struct Word<T> {
    /// As the department has it, scrubbed.
    pub(super) text: String,
    /// Whether scrubbing took something out.
    pub(super) scrubbed: bool,
    pub(super) meaning: T,
}

/// The words of one column: per row an index into `words`; index 0 is "no word".
#[derive(Debug)]
pub(super) struct Words<T> {
    indexes: Vec<u32>,
    words: Vec<Word<T>>,
}

impl<T: Default> Words<T> {
    /// Reads a column; `None` is a column of nothing.
    pub(super) fn read(column: Option<&StringArray>, rows: usize, meaning_of: impl Fn(&str) -> T) -> Self {
        let mut words = vec![Word {
            text: String::new(),
            scrubbed: false,
            meaning: T::default(),
        }];
        let Some(column) = column else {
            return Self {
                indexes: vec![0; rows],
                words,
            };
        };
        let mut known: AHashMap<&str, u32> = AHashMap::new();
        let mut previous: Option<(&str, u32)> = None;
        let mut indexes = Vec::with_capacity(rows);
        for row in 0..rows {
            let Some(text) = text_at(column, row) else {
                indexes.push(0);
                continue;
            };
            let index = match previous {
                Some((same, index)) if same == text => index,
                _ => *known.entry(text).or_insert_with(|| {
                    let clean = scrub(text);
                    let scrubbed = matches!(clean, std::borrow::Cow::Owned(_));
                    words.push(Word {
                        text: clean.into_owned(),
                        scrubbed,
                        meaning: meaning_of(text),
                    });
                    words.len() as u32 - 1
                }),
            };
            previous = Some((text, index));
            indexes.push(index);
        }
        Self { indexes, words }
    }

    pub(super) fn at(&self, row: usize) -> &Word<T> {
        &self.words[self.indexes[row] as usize]
    }
}

/// A category's meaning: code, severity, and whether the crosswalk knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Category {
    pub(super) code: String,
    pub(super) severity: u32,
    pub(super) known: bool,
}

pub(super) fn category(lookup: &CategoryLookup, text: &str) -> Category {
    match lookup(text) {
        Some((code, severity)) => Category {
            code,
            severity,
            known: true,
        },
        None => Category::default(),
    }
}

/// The manifest's words and the standard terms.
pub(super) struct StatusWords {
    words: AHashMap<String, v1::CaseState>,
}

impl StatusWords {
    pub(super) fn compile<'a>(words: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Self, Problem> {
        let words = words
            .map(|(word, state)| {
                let state = v1::CaseState::from_word(state)
                    .ok_or_else(|| Problem::new("map.status.words", format!("\"{state}\" is no state of a case")))?;
                Ok((word.trim().to_lowercase(), state))
            })
            .collect::<Result<_, Problem>>()?;
        Ok(Self { words })
    }

    /// `None` for a word nobody knows.
    pub(super) fn state(&self, text: &str) -> Option<v1::CaseState> {
        self.words
            .get(&text.to_lowercase())
            .copied()
            .or_else(|| state_of_term(text))
    }
}
