//! Text of others made harmless for a terminal.

/// What the text is in the middle of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum In {
    #[default]
    Text,
    /// After ESC, and after what stands between it and its last character.
    Escape,
    /// `ESC [`, parameters, one last character.
    Sequence,
    /// `ESC ]` and the like: words for the terminal, ended by BEL or `ESC \`.
    Words,
    /// After ESC within such words.
    WordsEscape,
}

/// Takes out of a stream of bytes all that moves a terminal's cursor, changes its colours or title, or
/// makes it answer. What is cut in two by pieces is still one.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    within: In,
    /// The beginning of a character whose rest is yet to come.
    rest: Vec<u8>,
}

impl Plain {
    /// Returns what a piece says.
    pub fn take(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let whole = std::mem::take(&mut self.rest);
        let mut plain = String::new();
        for chunk in whole.utf8_chunks() {
            chunk.valid().chars().for_each(|c| self.next(c, &mut plain));
            let broken = chunk.invalid();
            let is_end = whole.as_ptr_range().end == broken.as_ptr_range().end;
            if is_end && std::str::from_utf8(broken).is_err_and(|error| error.error_len().is_none())
            {
                self.rest = broken.to_vec();
            } else if !broken.is_empty() {
                self.next(char::REPLACEMENT_CHARACTER, &mut plain);
            }
        }
        plain
    }

    fn next(&mut self, c: char, plain: &mut String) {
        self.within = match (self.within, c) {
            (In::Words, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') => In::Text,
            // Nobody ended them: they must not swallow what follows.
            (In::Words, '\n') => {
                plain.push('\n');
                In::Text
            }
            (In::Words, '\u{1b}') => In::WordsEscape,
            (In::Words, _) => In::Words,
            (In::WordsEscape, '\\') => In::Text,
            (_, '\u{1b}') => In::Escape,
            (In::Escape | In::WordsEscape, '[') | (In::Text, '\u{9b}') => In::Sequence,
            (In::Escape | In::WordsEscape, ']' | 'P' | 'X' | '^' | '_') => In::Words,
            (In::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => In::Words,
            (In::Escape, ' '..='/') => In::Escape,
            (In::Escape | In::WordsEscape, _) => In::Text,
            // Moving to another place begins a line.
            (In::Sequence, 'H' | 'f') => {
                plain.push('\n');
                In::Text
            }
            (In::Sequence, '@'..='~') => In::Text,
            (In::Sequence, '\n') => {
                plain.push('\n');
                In::Text
            }
            (In::Sequence, _) => In::Sequence,
            (In::Text, c) => {
                if matches!(c, '\n' | '\t') || !c.is_control() {
                    plain.push(c);
                }
                In::Text
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAID: &str = "a\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}b\u{1b}]52;c;eA==\u{1b}\\c\r\n\
                        \u{1b}Pq#0\u{1b}\\d\u{1b}(Be\u{1b}cf\u{9b}31mg\u{9d}0;t\u{9c}hä€\u{8}\u{7}\n";

    #[test]
    fn nothing_that_a_terminal_would_obey_is_left() {
        assert_eq!(Plain::default().take(SAID.as_bytes()), "aredbc\ndefghä€\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        assert_eq!(Plain::default().take(b"a\xffb\xc3"), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(cuts in prop::collection::vec(0..SAID.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, SAID.len()]);
            cuts.sort_unstable();
            let mut plain = Plain::default();
            let said = cuts.windows(2).map(|cut| plain.take(&SAID.as_bytes()[cut[0]..cut[1]]));
            prop_assert_eq!(said.collect::<String>(), "aredbc\ndefghä€\n");
        }

        #[test]
        fn no_control_gets_through(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let said = Plain::default().take(&bytes);
            prop_assert!(said.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
        }
    }
}
