//! From text to the words that are searched: [`words`]. Pure.
//!
//! Release names are written with `.`, `_`, `-` or blanks between their words, with or without accents, in any case. All of
//! them fold to the same words, in the index and in the query, so that neither store needs rules of its own.

use std::iter;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest word in bytes; what is longer (a hash, base64) is found by its beginning.
pub const MAX_WORD: usize = 64;

/// The words of this text: letters and digits, lower case, without accents. A character of a script that has no spaces is a word.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let mut rest = folded(text).peekable();
    iter::from_fn(move || {
        while rest.next_if(|c| !c.is_alphanumeric()).is_some() {}
        let mut word = String::new();
        while let Some(c) = rest.next_if(|c| c.is_alphanumeric()) {
            if word.len() + c.len_utf8() <= MAX_WORD {
                word.push(c);
            }
            if is_word_alone(c) || rest.peek().is_some_and(|&next| is_word_alone(next)) {
                break;
            }
        }
        (!word.is_empty()).then_some(word)
    })
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    // Compatibility forms too: a full-width or a superscript letter is the letter.
    text.nfkd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase).flat_map(|c| {
        let (first, second) = match c {
            // What Unicode does not decompose, but keyboards lack.
            'ß' => ('s', Some('s')),
            'æ' => ('a', Some('e')),
            'œ' => ('o', Some('e')),
            'þ' => ('t', Some('h')),
            'ø' => ('o', None),
            'ł' => ('l', None),
            'đ' | 'ð' => ('d', None),
            'ħ' => ('h', None),
            'ı' => ('i', None),
            'ς' => ('σ', None),
            c => (c, None),
        };
        iter::once(first).chain(second)
    })
}

/// Chinese and Japanese are written without spaces: there, whatever is searched for is a phrase of single characters.
fn is_word_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3134f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        words(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn dots_underscores_hyphens_case_and_accents_make_no_difference() {
        for (text, expected) in [
            ("Ubuntu.24.04_LTS-desktop", "ubuntu 24 04 lts desktop"),
            ("  Café  CRÈME ", "cafe creme"),
            ("Cafe\u{301}", "cafe"),
            ("Straße Łódź Ærø", "strasse lodz aero"),
            ("ＦＵＬＬ２", "full2"),
            ("İstanbul ısı", "istanbul isi"),
            ("ΟΔΟΣ", "οδοσ"),
            ("東京タワー 2024", "東 京 タ ワ ー 2024"),
            ("ab東c", "ab 東 c"),
            ("%' OR 1=1 --", "or 1 1"),
            ("<script>\u{1b}[31m", "script 31m"),
            ("", ""),
            ("._-", ""),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_word_is_cut_and_ends_where_it_ends() {
        let text = format!("{} tail", "é".repeat(1000));
        assert_eq!(folded(&text), format!("{} tail", "e".repeat(MAX_WORD)));
    }
}
