//! Decimal digits of floating point numbers, laid out as Go's `strconv` does.

use std::fmt::Write as _;

/// The fewest decimal digits that identify a finite float at its width: `0.d₁d₂…` is never used, the value is
/// `d₁.d₂… × 10^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// `None` for infinities and what is not a number.
    pub(crate) fn of_f64(number: f64) -> Option<Self> {
        number.is_finite().then(|| Self::of_text(&format!("{number:e}")))
    }

    /// `None` for infinities and what is not a number.
    pub(crate) fn of_f32(number: f32) -> Option<Self> {
        number.is_finite().then(|| Self::of_text(&format!("{number:e}")))
    }

    /// From the standard library's exponent form, which has the shortest digits already.
    fn of_text(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        Self {
            negative: mantissa.starts_with('-'),
            digits: mantissa.chars().filter(char::is_ascii_digit).collect(),
            exponent: exponent.parse().unwrap_or(0),
        }
    }

    /// The power of ten of the first digit.
    pub(crate) fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Appends the number without exponent.
    pub(crate) fn push_plain(&self, out: &mut String) {
        if self.negative {
            out.push('-');
        }
        let whole = usize::try_from(self.exponent + 1).unwrap_or(0);
        if whole == 0 {
            out.push_str("0.");
            for _ in self.exponent + 1..0 {
                out.push('0');
            }
            out.push_str(&self.digits);
            return;
        }
        let (before, after) = self.digits.split_at(whole.min(self.digits.len()));
        out.push_str(before);
        for _ in before.len()..whole {
            out.push('0');
        }
        if !after.is_empty() {
            out.push('.');
            out.push_str(after);
        }
    }

    /// Appends the number with an exponent that has a sign. Exponents below zero have at least
    /// `negative_width` digits, others at least two.
    pub(crate) fn push_with_exponent(&self, out: &mut String, negative_width: usize) {
        if self.negative {
            out.push('-');
        }
        let (first, rest) = self.digits.split_at(1.min(self.digits.len()));
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let (sign, width) = if self.exponent < 0 { ('-', negative_width) } else { ('+', 2) };
        // Writing to a `String` cannot fail.
        _ = write!(out, "e{sign}{:0width$}", self.exponent.unsigned_abs());
    }
}
