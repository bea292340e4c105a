//! .NET's standard and custom formats of numbers.
//!
//! Digits come from the number's shortest or exact decimal form and are rounded half away from zero, as there.

use serde_json::Number;

use super::culture::{Culture, ENGLISH};

/// Most digits that a standard format may ask for.
const PRECISION_MAX: usize = 99;
/// Longest custom format, in characters.
const PATTERN_CHARS_MAX: usize = 200;
/// Significant digits of a fractional number in a custom format.
const CUSTOM_DIGITS: usize = 15;
/// Digits behind the wanted ones that are looked at to round.
const GUARD_DIGITS: usize = 40;

/// What is wrong with a format that is written out.
pub(super) fn check(format: &str) -> Result<(), String> {
    // `D` and `X` take integers, everything else takes them too.
    self::format(&Number::from(1), format, ENGLISH).map(drop)
}

/// Formats `number`; the error says what is wrong with the format.
pub(super) fn format(number: &Number, format: &str, culture: &Culture) -> Result<String, String> {
    let letter = format.chars().next();
    let digits = format.get(1..).unwrap_or_default();
    let is_standard =
        letter.is_some_and(|letter| letter.is_ascii_alphabetic()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match letter {
        None => Ok(general(number, None, culture, 'E')),
        Some(letter) if is_standard => {
            let precision = (!digits.is_empty()).then(|| digits.parse().unwrap_or(usize::MAX));
            if precision.is_some_and(|precision| precision > PRECISION_MAX) {
                return Err(format!("a format asks for at most {PRECISION_MAX} digits"));
            }
            standard(number, letter, precision, culture)
        }
        Some(_) => custom(number, format, culture),
    }
}

fn standard(number: &Number, letter: char, precision: Option<usize>, culture: &Culture) -> Result<String, String> {
    let decimal = Decimal::of(number);
    let places = precision.unwrap_or(2);
    Ok(match letter.to_ascii_uppercase() {
        'D' => {
            let digits = integer_digits(number)?;
            let width = precision.unwrap_or(0);
            format!("{}{digits:0>width$}", decimal.sign("-"))
        }
        'X' => {
            integer_digits(number)?;
            let bits = number.as_i64().map_or_else(|| number.as_u64().unwrap_or_default(), i64::cast_unsigned);
            // Negative numbers are shown in 32 bits where they fit, as there.
            let bits = if number.as_i64().is_some_and(|value| (i64::from(i32::MIN)..0).contains(&value)) {
                bits & 0xffff_ffff
            } else {
                bits
            };
            let hex = if letter == 'x' { format!("{bits:x}") } else { format!("{bits:X}") };
            format!("{hex:0>width$}", width = precision.unwrap_or(0))
        }
        'F' => decimal.fixed(places, "", culture.point),
        'N' => decimal.fixed(places, culture.group, culture.point),
        'C' => {
            let shown = decimal.magnitude().fixed(places, culture.group, culture.point);
            let is_negative = decimal.is_negative && shown.chars().any(|c| ('1'..='9').contains(&c));
            culture.money[usize::from(is_negative)].replace('n', &shown)
        }
        'P' => {
            let shown = decimal.times_ten(2).fixed(places, culture.group, culture.point);
            match shown.strip_prefix('-') {
                Some(positive) => format!("-{}", culture.percent.replace('n', positive)),
                None => culture.percent.replace('n', &shown),
            }
        }
        'E' => scientific(&decimal, precision.unwrap_or(6), letter, 3, culture.point),
        'G' => general(
            number,
            precision.filter(|precision| *precision > 0),
            culture,
            if letter == 'g' { 'e' } else { 'E' },
        ),
        'R' => general(number, None, culture, 'E'),
        _ => {
            return Err(format!(
                "`{letter}` is not a format; standard formats are C D E F G N P R X, or write a pattern like 0,0.00"
            ));
        }
    })
}

fn integer_digits(number: &Number) -> Result<String, String> {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => Ok(value.unsigned_abs().to_string()),
        (None, Some(value)) => Ok(value.to_string()),
        _ => Err("D and X take integers only; F0 rounds".to_owned()),
    }
}

/// The shortest form, or one of so many significant digits.
fn general(number: &Number, precision: Option<usize>, culture: &Culture, exponent: char) -> String {
    let Some(precision) = precision else {
        return crate::template::print::number(number).replace('.', culture.point).replace('E', &exponent.to_string());
    };
    let decimal = Decimal::of(number).significant(precision);
    let magnitude = decimal.exponent();
    if magnitude >= i32::try_from(precision).unwrap_or(i32::MAX) || magnitude <= -5 {
        let trimmed = decimal.trimmed();
        let places = trimmed.digits.len().saturating_sub(1);
        return scientific(&trimmed, places, exponent, 2, culture.point);
    }
    let trimmed = decimal.trimmed();
    let places = usize::try_from(-trimmed.scale).unwrap_or(0);
    trimmed.fixed(places, "", culture.point)
}

fn scientific(decimal: &Decimal, places: usize, letter: char, width: usize, point: &str) -> String {
    let rounded = decimal.significant(places + 1);
    let exponent = if rounded.is_zero() { 0 } else { rounded.exponent() };
    let mut digits = rounded.digits.clone();
    digits.resize(places + 1, 0);
    let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let (whole, fraction) = text.split_at(1);
    let point = if fraction.is_empty() { "" } else { point };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}{whole}{point}{fraction}{letter}{sign}{:0>width$}", decimal.sign("-"), exponent.unsigned_abs())
}

/// A decimal number: `digits × 10^scale`, the first digit not zero.
#[derive(Debug, Clone)]
struct Decimal {
    is_negative: bool,
    digits: Vec<u8>,
    scale: i32,
}

impl Decimal {
    fn of(number: &Number) -> Self {
        if let Ok(digits) = integer_digits(number) {
            let is_negative = number.as_i64().is_some_and(i64::is_negative);
            return Self::new(is_negative, &digits, 0);
        }
        let value = number.as_f64().unwrap_or_default();
        // Exact digits well beyond what a double holds: rounding sees what is really there.
        let text = format!("{:.*e}", GUARD_DIGITS, value.abs());
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let scale = exponent - i32::try_from(GUARD_DIGITS).unwrap_or(0);
        Self::new(value < 0.0, &digits.replace('.', ""), scale)
    }

    fn new(is_negative: bool, digits: &str, scale: i32) -> Self {
        let digits: Vec<u8> = digits.trim_start_matches('0').bytes().map(|byte| byte - b'0').collect();
        Self { is_negative: is_negative && !digits.is_empty(), digits, scale }
    }

    fn is_zero(&self) -> bool {
        self.digits.iter().all(|digit| *digit == 0)
    }

    fn magnitude(&self) -> Self {
        Self { is_negative: false, ..self.clone() }
    }

    fn sign(&self, minus: &'static str) -> &'static str {
        if self.is_negative && !self.is_zero() { minus } else { "" }
    }

    fn times_ten(&self, power: i32) -> Self {
        Self { scale: self.scale + power, ..self.clone() }
    }

    /// The power of ten of the first digit.
    fn exponent(&self) -> i32 {
        self.scale + i32::try_from(self.digits.len()).unwrap_or(i32::MAX) - 1
    }

    /// The same, without zeros at the end.
    fn trimmed(&self) -> Self {
        let mut trimmed = self.clone();
        while trimmed.digits.last() == Some(&0) {
            trimmed.digits.pop();
            trimmed.scale += 1;
        }
        if trimmed.digits.is_empty() {
            trimmed.scale = 0;
        }
        trimmed
    }

    /// Rounded half away from zero to the power of ten `scale`.
    fn rounded(&self, scale: i32) -> Self {
        let dropped = usize::try_from(scale - self.scale).unwrap_or(0);
        if dropped == 0 {
            return self.clone();
        }
        let kept = self.digits.len().checked_sub(dropped);
        let up = kept.and_then(|kept| self.digits.get(kept)).is_some_and(|digit| *digit >= 5);
        let mut digits = self.digits[..kept.unwrap_or(0)].to_vec();
        if up {
            let carried = digits.iter().rposition(|digit| *digit < 9);
            let zeros_from = carried.map_or(0, |at| at + 1);
            digits[zeros_from..].fill(0);
            match carried {
                Some(at) => digits[at] += 1,
                None => digits.insert(0, 1),
            }
        }
        Self { is_negative: self.is_negative, digits, scale }
    }

    fn significant(&self, count: usize) -> Self {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let rounded = self.rounded(self.exponent() - count + 1);
        // 9.99 became 10.0: one digit more than wanted.
        rounded.rounded(rounded.exponent() - count + 1)
    }

    /// The digits before the point and, `places` of them, behind it.
    fn parts(&self, places: usize) -> (String, String) {
        let rounded = self.rounded(-i32::try_from(places).unwrap_or(i32::MAX));
        let mut text: String = rounded.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        if let Ok(zeros) = usize::try_from(rounded.scale) {
            text.push_str(&"0".repeat(zeros));
        }
        let behind = usize::try_from(-rounded.scale).unwrap_or(0);
        let text = format!("{text:0>width$}", width = behind + 1);
        let (whole, fraction) = text.split_at(text.len() - behind);
        (whole.to_owned(), format!("{fraction:0<places$}"))
    }

    fn fixed(&self, places: usize, group: &str, point: &str) -> String {
        let (whole, fraction) = self.parts(places);
        let is_zero = whole.bytes().chain(fraction.bytes()).all(|byte| byte == b'0');
        let sign = if self.is_negative && !is_zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { point };
        format!("{sign}{}{point}{fraction}", grouped(&whole, group))
    }
}

fn grouped(whole: &str, group: &str) -> String {
    if group.is_empty() {
        return whole.to_owned();
    }
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push_str(group);
        }
        text.push(digit);
    }
    text
}

/// A piece of a custom format.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    /// `0`: a digit in any case.
    Zero,
    /// `#`: a digit if there is one.
    Digit,
    /// The first `.`.
    Point,
    /// Written as it is.
    Text(String),
    /// `E+00`: letter, whether `+` is shown, fewest digits.
    Exponent(char, bool, usize),
}

/// One section of a custom format, taken apart.
#[derive(Debug, Default)]
struct Section {
    pieces: Vec<Piece>,
    /// Commas between digits: thousands are grouped.
    is_grouped: bool,
    /// Powers of ten from `%`, `‰` and commas in front of the point.
    power: i32,
}

fn custom(number: &Number, format: &str, culture: &Culture) -> Result<String, String> {
    if format.chars().count() > PATTERN_CHARS_MAX {
        return Err(format!("a format has at most {PATTERN_CHARS_MAX} characters"));
    }
    let sections = sections(format)?;
    let mut decimal = Decimal::of(number);
    if number.is_f64() {
        decimal = decimal.significant(CUSTOM_DIGITS);
    }
    let second = sections.get(1).filter(|section| !section.pieces.is_empty());
    let (section, decimal) = match (decimal.is_zero(), decimal.is_negative) {
        (true, _) if sections.len() > 2 => (&sections[2], decimal),
        (_, true) => match second {
            Some(second) => (second, decimal.magnitude()),
            None => (&sections[0], decimal),
        },
        _ => (&sections[0], decimal),
    };
    Ok(section.write(&decimal, culture))
}

fn sections(format: &str) -> Result<Vec<Section>, String> {
    let mut sections = vec![Section::default()];
    let mut commas = 0;
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let Some(section) = sections.last_mut() else { break };
        let has_point = section.pieces.contains(&Piece::Point);
        let has_digit = section.pieces.iter().any(|piece| matches!(piece, Piece::Zero | Piece::Digit));
        match c {
            '0' | '#' => {
                section.is_grouped |= commas > 0 && has_digit && !has_point;
                commas = 0;
                section.pieces.push(if c == '0' { Piece::Zero } else { Piece::Digit });
            }
            ',' => commas += i32::from(has_digit && !has_point),
            '.' if !has_point => {
                section.power -= 3 * std::mem::take(&mut commas);
                section.pieces.push(Piece::Point);
            }
            '.' => {}
            ';' => {
                section.power -= 3 * std::mem::take(&mut commas);
                sections.push(Section::default());
            }
            'E' | 'e' => match exponent(rest) {
                Some((plus, width, behind)) => {
                    section.pieces.push(Piece::Exponent(c, plus, width));
                    rest = behind;
                }
                None => section.text(&c.to_string()),
            },
            '\'' | '"' => {
                let (literal, behind) =
                    rest.split_once(c).ok_or_else(|| format!("the quote {c} in the format is never closed"))?;
                section.text(literal);
                rest = behind;
            }
            '\\' => {
                let escaped = rest.chars().next().ok_or("a format cannot end with `\\`")?;
                section.text(&escaped.to_string());
                rest = &rest[escaped.len_utf8()..];
            }
            '%' | '‰' => {
                section.power += if c == '%' { 2 } else { 3 };
                section.text(&c.to_string());
            }
            other => section.text(&other.to_string()),
        }
    }
    if let Some(last) = sections.last_mut() {
        last.power -= 3 * commas;
    }
    Ok(sections)
}

/// `+00`, `-0`, `00` behind an E: whether `+` is shown, the width, and what follows.
fn exponent(rest: &str) -> Option<(bool, usize, &str)> {
    let (plus, digits) = match rest.strip_prefix('+') {
        Some(digits) => (true, digits),
        None => (false, rest.strip_prefix('-').unwrap_or(rest)),
    };
    let width = digits.bytes().take_while(|byte| *byte == b'0').count();
    (width > 0).then(|| (plus, width.min(10), &digits[width..]))
}

impl Section {
    fn text(&mut self, text: &str) {
        self.pieces.push(Piece::Text(text.to_owned()));
    }

    fn write(&self, decimal: &Decimal, culture: &Culture) -> String {
        let point = self.pieces.iter().position(|piece| *piece == Piece::Point).unwrap_or(self.pieces.len());
        let is_digit = |piece: &Piece| matches!(piece, Piece::Zero | Piece::Digit);
        let (before, behind) = self.pieces.split_at(point);
        let before: Vec<&Piece> = before.iter().filter(|piece| is_digit(piece)).collect();
        let behind: Vec<&Piece> = behind.iter().filter(|piece| is_digit(piece)).collect();
        let mut decimal = decimal.times_ten(self.power);
        let mut shift = 0;
        if self.pieces.iter().any(|piece| matches!(piece, Piece::Exponent(..))) && !decimal.is_zero() {
            let rounded = decimal.significant(before.len() + behind.len());
            shift = rounded.exponent() + 1 - i32::try_from(before.len()).unwrap_or(0);
            decimal = rounded.times_ten(-shift);
        }
        let (whole, fraction) = decimal.parts(behind.len());
        let whole = whole.trim_start_matches('0');
        let zeros = before.iter().position(|piece| **piece == Piece::Zero).map_or(0, |at| before.len() - at);
        let whole = format!("{whole:0>zeros$}");
        let kept = behind.iter().rposition(|piece| **piece == Piece::Zero).map_or(0, |at| at + 1);
        let fraction = &fraction[..kept.max(fraction.trim_end_matches('0').len())];
        let has_digits = whole.bytes().chain(fraction.bytes()).any(|byte| byte != b'0');
        let mut text = decimal.sign(if has_digits { "-" } else { "" }).to_owned();
        self.fill(&mut text, &whole, fraction, before.len(), shift, culture);
        text
    }

    /// Writes the pieces with the digits in their places; digits beyond the first place stand in it too.
    fn fill(&self, text: &mut String, whole: &str, fraction: &str, places: usize, shift: i32, culture: &Culture) {
        let group = if self.is_grouped { culture.group } else { "" };
        let (mut place, mut written, mut behind) = (0, 0, None);
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Point => {
                    behind = Some(fraction.chars());
                    text.push_str(if fraction.is_empty() { "" } else { culture.point });
                }
                Piece::Zero | Piece::Digit => match &mut behind {
                    Some(digits) => text.extend(digits.next()),
                    None => {
                        place += 1;
                        // So many digits stand to the right of this place.
                        let until = whole.len().saturating_sub(places - place);
                        for (at, digit) in whole.char_indices().take(until).skip(written) {
                            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                                text.push_str(group);
                            }
                            text.push(digit);
                        }
                        written = written.max(until);
                    }
                },
                Piece::Exponent(letter, plus, width) => {
                    let sign = if shift < 0 {
                        "-"
                    } else if *plus {
                        "+"
                    } else {
                        ""
                    };
                    text.push_str(&format!("{letter}{sign}{:0>width$}", shift.unsigned_abs()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Number, json};

    use super::super::culture::{ENGLISH, find};
    use super::format;

    fn shown(value: &serde_json::Value, pattern: &str) -> String {
        let number: &Number = value.as_number().expect("a number");
        format(number, pattern, ENGLISH).unwrap_or_else(|message| panic!("{pattern}: {message}"))
    }

    #[test]
    fn standard_formats() {
        for (value, pattern, text) in [
            (json!(1_234_567_890.5), "N2", "1,234,567,890.50"),
            (json!(5), "D3", "005"),
            (json!(-5), "D3", "-005"),
            (json!(1234.5678), "F2", "1234.57"),
            (json!(1234.5678), "E2", "1.23E+003"),
            (json!(0.125), "F2", "0.13"),
            (json!(2.5), "F0", "3"),
            (json!(-0.001), "F2", "0.00"),
            (json!(-1234.5), "C", "-$1,234.50"),
            (json!(0.1234), "P1", "12.3%"),
            (json!(255), "X", "FF"),
            (json!(255), "x4", "00ff"),
            (json!(-1), "X", "FFFFFFFF"),
            (json!(1234.5), "G", "1234.5"),
            (json!(1234.5), "G2", "1.2E+03"),
            (json!(0.000_012_345), "G3", "1.23E-05"),
            (json!(999.99), "G3", "1E+03"),
            (json!(0), "E1", "0.0E+000"),
            (json!(0), "N0", "0"),
            (json!(1e21), "F0", "1000000000000000000000"),
            (json!(9_223_372_036_854_775_807_i64), "N0", "9,223,372,036,854,775,807"),
        ] {
            assert_eq!(shown(&value, pattern), text, "{value} as {pattern}");
        }
    }

    #[test]
    fn custom_formats() {
        for (value, pattern, text) in [
            (json!(1_234_567), "#,##0", "1,234,567"),
            (json!(1_234_567), "0,0.00", "1,234,567.00"),
            (json!(7), "000", "007"),
            (json!(0), "#", ""),
            (json!(0.5), "#.##", ".5"),
            (json!(0.5), "0.00", "0.50"),
            (json!(12), "0.##", "12"),
            (json!(0.256), "0.0%", "25.6%"),
            (json!(1_234_567), "0,,", "1"),
            (json!(1_234_567), "0.0,,' M'", "1234567.0 M"),
            (json!(1_234_567), "0,,.0' M'", "1.2 M"),
            (json!(-5), "0;(0)", "(5)"),
            (json!(0), "0;(0);'none'", "none"),
            (json!(4_930_123_456_i64), "+## ### ######", "+4 930 123456"),
            (json!(-1.5), "0.0", "-1.5"),
            (json!(86000), "0.###E+0", "8.6E+4"),
            (json!(0.1 + 0.2), "0.####################", "0.3"),
        ] {
            assert_eq!(shown(&value, pattern), text, "{value} as {pattern}");
        }
    }

    #[test]
    fn cultures_write_their_own_signs() {
        let number = Number::from_f64(-1234.5).expect("a number");
        for (culture, pattern, text) in [
            ("de-DE", "N2", "-1.234,50"),
            ("de-DE", "C2", "-1.234,50 €"),
            ("en-GB", "C0", "-£1,235"),
            ("fr-FR", "N1", "-1\u{202f}234,5"),
            ("nl-NL", "C2", "€ -1.234,50"),
            ("pt-BR", "C2", "-R$ 1.234,50"),
        ] {
            assert_eq!(format(&number, pattern, find(culture).expect("exists")), Ok(text.to_owned()), "{culture}");
        }
    }

    #[test]
    fn faulty_formats_say_what_is_wrong() {
        let number = Number::from_f64(1.5).expect("a number");
        for pattern in ["D2", "X", "Q", "N100", "0'open", "0\\"] {
            assert!(format(&number, pattern, ENGLISH).is_err(), "{pattern}");
        }
    }
}
