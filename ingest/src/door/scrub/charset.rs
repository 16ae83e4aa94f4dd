//! A set of characters that is asked once per character of every text: a bit per character of the basic plane.

/// Characters of the basic plane.
pub(super) struct CharSet {
    /// By the code's low 12 bits; the high 4 bits say which bit.
    blocks: [u16; 1 << 12],
}

impl CharSet {
    /// The characters of a text, all of the basic plane.
    pub(super) fn of(characters: impl IntoIterator<Item = char>) -> Self {
        let mut blocks = [0; 1 << 12];
        for character in characters {
            let code = character as u32;
            debug_assert!(code < 0x1_0000, "{character} is not of the basic plane");
            blocks[code as usize & 0xfff] |= 1 << (code >> 12 & 15);
        }
        Self { blocks }
    }

    /// Whether the set has the character.
    pub(super) fn contains(&self, character: char) -> bool {
        let code = character as u32;
        code < 0x1_0000 && self.blocks[code as usize & 0xfff] >> (code >> 12) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_put_in_is_there() {
        let set = CharSet::of("0９一\u{ffff}".chars());
        let found: String = ('\0'..='\u{1ffff}')
            .filter(|&character| set.contains(character))
            .collect();
        assert_eq!(found, "0一９\u{ffff}");
    }
}
