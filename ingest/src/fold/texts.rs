//! A column of texts in the making. Most columns of an epoch hold one word, or nothing, in all rows: such rows are only counted.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, StringViewArray, StringViewBuilder, new_null_array};
use arrow::datatypes::DataType;

/// Bytes of a block of texts: an epoch of one event has one per column of long texts.
const BLOCK_BYTES: u32 = 16 << 10;
/// Longer texts do not stand in their view, but in a block (Arrow's format).
const INLINE_BYTES: usize = 12;

/// Texts of one column, NULL or not.
#[derive(Debug)]
pub(super) struct Texts {
    /// What all rows so far hold, while they hold the same.
    same: Same,
    /// How many they are.
    rows: usize,
    /// The rows, once two differ.
    mixed: Option<Box<StringViewBuilder>>,
    /// Rows of the column before: the next one will have about as many.
    rows_before: usize,
    /// The last column of one text, for the next one.
    last: Option<StringViewArray>,
}

/// A text or NULL, in memory that is used again.
#[derive(Debug, Default)]
struct Same {
    text: String,
    is_null: bool,
}

impl Same {
    fn get(&self) -> Option<&str> {
        (!self.is_null).then_some(&*self.text)
    }

    fn set(&mut self, text: Option<&str>) {
        text.unwrap_or_default().clone_into(&mut self.text);
        self.is_null = text.is_none();
    }
}

impl Texts {
    /// No rows yet.
    pub(super) fn new() -> Self {
        Self {
            same: Same::default(),
            rows: 0,
            mixed: None,
            rows_before: 0,
            last: None,
        }
    }

    /// Adds a row.
    #[inline]
    pub(super) fn push(&mut self, text: Option<&str>) {
        if let Some(builder) = &mut self.mixed {
            builder.append_option(text);
        } else if self.rows == 0 {
            self.same.set(text);
        } else if self.same.get() != text {
            self.mix(text);
        }
        self.rows += 1;
    }

    fn mix(&mut self, other: Option<&str>) {
        let capacity = self.rows_before.max(self.rows + 1);
        let mut builder = StringViewBuilder::with_capacity(capacity).with_fixed_block_size(BLOCK_BYTES);
        (0..self.rows).for_each(|_| builder.append_option(self.same.get()));
        builder.append_option(other);
        self.mixed = Some(Box::new(builder));
    }

    /// The rows; afterwards there are none.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = std::mem::take(&mut self.rows);
        self.rows_before = rows;
        match (self.mixed.take(), self.same.get()) {
            (Some(mut builder), _) => Arc::new(builder.finish()),
            (None, None) => new_null_array(&DataType::Utf8View, rows),
            (None, Some(text)) => {
                let last = self.last.take().filter(|last| {
                    // A short column that holds on to a long one would count as long.
                    (rows..=rows * 2).contains(&last.len()) && !last.is_empty() && last.value(0) == text
                });
                // The next epoch may be somewhat longer.
                let last = self.last.insert(last.unwrap_or_else(|| repeat(text, rows + rows / 4)));
                Arc::new(last.slice(0, rows))
            }
        }
    }
}

/// A column of one text.
fn repeat(text: &str, rows: usize) -> StringViewArray {
    let mut builder = StringViewBuilder::with_capacity(rows);
    if text.len() <= INLINE_BYTES {
        (0..rows).for_each(|_| builder.append_value(text));
        return builder.finish();
    }
    // The text stands once, all views look at it.
    let block = builder.append_block(text.as_bytes().into());
    for _ in 0..rows {
        builder
            .try_append_view(block, 0, text.len() as u32)
            .expect("the block is the text");
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::AsArray as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_epoch_by_epoch(
            epochs in prop::collection::vec(
                (prop::collection::vec(0..4_usize, 0..12), any::<bool>()),
                1..8,
            ),
        ) {
            let words = [None, Some("short"), Some(""), Some("a text that does not stand in its view")];
            let mut texts = Texts::new();
            for (rows, is_same) in epochs {
                let rows: Vec<Option<&str>> = rows
                    .iter()
                    .map(|&word| if is_same { words[rows[0]] } else { words[word] })
                    .collect();
                for text in &rows {
                    texts.push(*text);
                }
                let column = texts.finish();
                prop_assert_eq!(column.data_type(), &DataType::Utf8View);
                prop_assert_eq!(column.as_string_view().iter().collect::<Vec<_>>(), rows);
            }
        }
    }

    #[test]
    fn a_short_column_does_not_hold_on_to_a_long_one() {
        let mut texts = Texts::new();
        let mut column = |rows: usize| {
            (0..rows).for_each(|_| texts.push(Some("hotline")));
            texts.finish().get_array_memory_size()
        };
        let long = column(10_000);
        assert!(column(9_000) <= long);
        assert!(column(1) < 1_000);
    }
}
