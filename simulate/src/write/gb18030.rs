//! UTF-8 to GB18030 through a table of the two-byte part, made once; what is not in it goes through `encoding_rs`.

/// The encoder.
#[derive(Debug)]
pub struct Gb18030 {
    /// Two bytes of each character of the Basic Multilingual Plane, 0 where it has not two.
    table: Vec<u16>,
}

impl Gb18030 {
    /// Makes the table.
    pub fn new() -> Self {
        let mut table = vec![0; 0x1_0000];
        let mut bytes = [0; 4];
        for code in 0x80..0x1_0000_u32 {
            let Some(character) = char::from_u32(code) else {
                continue;
            };
            let text = character.encode_utf8(&mut bytes);
            let (encoded, _, _) = encoding_rs::GB18030.encode(text);
            if let [high, low] = encoded.as_ref() {
                table[code as usize] = u16::from_be_bytes([*high, *low]);
            }
        }
        Self { table }
    }

    /// Appends UTF-8 text in GB18030.
    pub fn encode(&self, text: &str, out: &mut Vec<u8>) {
        for character in text.chars() {
            if character.is_ascii() {
                out.push(character as u8);
                continue;
            }
            let pair = self.table.get(character as usize).copied().unwrap_or(0);
            if pair == 0 {
                let mut bytes = [0; 4];
                out.extend_from_slice(&encoding_rs::GB18030.encode(character.encode_utf8(&mut bytes)).0);
            } else {
                out.extend_from_slice(&pair.to_be_bytes());
            }
        }
    }
}

impl Default for Gb18030 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_encoding_rs() {
        let text = "云澜市，柳安路(liuanlu)128号。“”€𠮷龘";
        let mut out = Vec::new();
        Gb18030::new().encode(text, &mut out);
        assert_eq!(out, encoding_rs::GB18030.encode(text).0.as_ref());
    }
}
