//! Numbers as constraints and contexts write them.
//!
//! The syntax is that of Go's floating point literals plus names for infinity (section 4.3), which is wider
//! than Rust's in some places (hexadecimal, underscores) and narrower in others (`-NaN`, overflow).

/// The number that this text writes, without any white space around it. Too large a number is none.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'+' => (false, &text[1..]),
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let magnitude = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => hexadecimal(&unsigned[2..])?,
        [b'0'..=b'9' | b'.', ..] => decimal(unsigned)?,
        _ if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") => {
            f64::INFINITY
        }
        // Not-a-number has no sign.
        _ if text.eq_ignore_ascii_case("nan") => return Some(f64::NAN),
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Decimal notation, beginning with a digit or a point.
fn decimal(text: &str) -> Option<f64> {
    let number: f64 = if text.contains('_') {
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        without_underscores(text, digit, digit)?.parse().ok()?
    } else {
        text.parse().ok()?
    };
    // What Rust rounds to infinity is out of range.
    number.is_finite().then_some(number)
}

/// Hexadecimal notation after its `0x`; the binary exponent is not optional.
fn hexadecimal(text: &str) -> Option<f64> {
    let stripped;
    let text = if text.contains('_') {
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
        // Here alone an underscore may come first: right after the prefix.
        stripped = without_underscores(text, |byte| byte.is_none() || digit(byte), digit)?;
        stripped.as_str()
    } else {
        text
    };
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }

    // value = bits × 2^scale; `sticky` stands for ones that no longer fit into the bits.
    let (mut bits, mut scale, mut sticky) = (0_u64, 0_i64, false);
    for (digits, is_fraction) in [(whole, false), (fraction, true)] {
        for byte in digits.bytes() {
            let digit = u64::from(char::from(byte).to_digit(16)?);
            if bits >> 60 == 0 {
                bits = bits << 4 | digit;
                scale -= if is_fraction { 4 } else { 0 };
            } else {
                sticky |= digit != 0;
                scale += if is_fraction { 0 } else { 4 };
            }
        }
    }
    scale = scale.saturating_add(binary_exponent(exponent)?);
    round(bits, scale, sticky)
}

/// A signed decimal integer; magnitudes that no number can make up for are cut off.
fn binary_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0_i64;
    for byte in digits.bytes() {
        let digit = i64::from(char::from(byte).to_digit(10)?);
        exponent = exponent.saturating_mul(10).saturating_add(digit);
    }
    Some(if text.starts_with('-') { -exponent } else { exponent })
}

/// The number nearest to bits × 2^scale, ties to even; `sticky` says that the true value is a little more.
fn round(bits: u64, scale: i64, sticky: bool) -> Option<f64> {
    const FRACTION_BITS: u32 = 52;
    const SMALLEST_EXPONENT: i64 = -1022;
    const LARGEST_EXPONENT: i64 = 1023;

    if bits == 0 {
        return Some(0.0);
    }
    let leading = bits.leading_zeros();
    let bits = bits << leading;
    let exponent = scale.saturating_sub(i64::from(leading)).saturating_add(63);
    if exponent > LARGEST_EXPONENT {
        return None;
    }
    // Below the smallest exponent the number is subnormal and has fewer bits.
    let missing = u32::try_from((SMALLEST_EXPONENT.saturating_sub(exponent)).max(0)).unwrap_or(u32::MAX);
    let dropped = (63 - FRACTION_BITS).saturating_add(missing);
    if dropped > 64 {
        return Some(0.0);
    }
    let wide = u128::from(bits);
    let (kept, rest, half) = (wide >> dropped, wide & ((1 << dropped) - 1), 1_u128 << (dropped - 1));
    let up = rest > half || rest == half && (sticky || kept & 1 == 1);
    let kept = u64::try_from(kept).ok()? + u64::from(up);
    // The leading one of a normal number adds the last unit of the exponent, and so does a carry.
    let biased = u64::try_from(exponent.max(SMALLEST_EXPONENT) - SMALLEST_EXPONENT).ok()?;
    let number = f64::from_bits((biased << FRACTION_BITS) + kept);
    number.is_finite().then_some(number)
}

/// The text without its underscores, each of which must stand between what these two allow.
fn without_underscores(
    text: &str,
    before: impl Fn(Option<&u8>) -> bool,
    after: impl Fn(Option<&u8>) -> bool,
) -> Option<String> {
    let bytes = text.as_bytes();
    let well_placed = |position: usize| {
        before(position.checked_sub(1).and_then(|p| bytes.get(p))) && after(bytes.get(position + 1))
    };
    text.match_indices('_').all(|(position, _)| well_placed(position)).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_every_form_of_the_specification() {
        for (text, number) in [
            ("1", 1.0),
            ("+1", 1.0),
            ("-1", -1.0),
            ("1.0", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("5.e1", 50.0),
            ("00012", 12.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("1e-3", 0.001),
            ("0x1p4", 16.0),
            ("0X1P-2", 0.25),
            ("-0x1.8p1", -3.0),
            ("0x.8p0", 0.5),
            ("0xAp0", 10.0),
            ("0x1_0p0", 16.0),
            ("1_000", 1000.0),
            ("0_1", 1.0),
            ("1e1_0", 1e10),
            ("1.2_5", 1.25),
            ("0x_1p4", 16.0),
            ("0x1p1_0", 1024.0),
            ("inf", f64::INFINITY),
            ("Infinity", f64::INFINITY),
            ("+INFINITY", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("1e-400", 0.0),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x0.00001p-1055", 0.0),
            ("0x1p-9999999999999999999999", 0.0),
            ("0x0p9999999999999999999999", 0.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.fffffffffffff7p1023", f64::MAX),
            ("0x1p-1022", f64::MIN_POSITIVE),
            ("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE),
            // Exactly between two numbers the even one is taken; the last digit here tips the scale.
            ("0x1.00000000000008p0", 1.0),
            ("0x1.0000000000000800001p0", 1.0 + f64::EPSILON),
            ("0x1000000000000080000000p-84", 1.0),
            ("0x1000000000000080000001p-84", 1.0 + f64::EPSILON),
            ("0x100000000000000000p0", 295_147_905_179_352_825_856.0),
            ("1.7976931348623157e308", f64::MAX),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        assert!(["NaN", "nan", "nAN"].iter().all(|text| parse(text).is_some_and(f64::is_nan)));
        assert!(parse("-0").unwrap().is_sign_negative() && parse("-0x0p0").unwrap().is_sign_negative());
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            " ",
            "1,5",
            "1f",
            "1e",
            "1e+",
            "--1",
            "+-1",
            "-+1",
            " 1",
            "1 ",
            "1\n",
            "0x10",
            "0x",
            "0xp1",
            "0x.p1",
            "0x1p",
            "0x1p+",
            "0x1p1a",
            "0x1pa",
            "0x1.1.1p1",
            "0x-1p1",
            "0x1p1_a",
            "1__0",
            "_1",
            "1_",
            "1_.5",
            "1._5",
            "1_e3",
            "1e_3",
            "1e3_",
            "-_1",
            "_",
            "0_x1p1",
            "0x1_p1",
            "0x1p_1",
            "0x__1p1",
            "0x_",
            "infin",
            "infinit",
            "in",
            "i",
            "-NaN",
            "+nan",
            "na",
            "0b1",
            "0o7",
            "1e400",
            "-1e400",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            ".",
            "-",
            "+",
            "e1",
            ".e1",
            "1.2.3",
            "1e1.5",
            "١",
            "1\u{0}",
            "∞",
            "１",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    /// Reads the grammar of section 4.3 letter by letter and computes hexadecimal numbers as exact decimal text.
    mod reference {
        pub(super) fn parse(text: &str) -> Option<f64> {
            let lower = text.to_ascii_lowercase();
            if lower == "nan" {
                return Some(f64::NAN);
            }
            let sign = if lower.starts_with('-') { -1.0 } else { 1.0 };
            let body = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
            if body == "inf" || body == "infinity" {
                return Some(sign * f64::INFINITY);
            }
            let hex = body.strip_prefix("0x");
            let radix = if hex.is_some() { 16 } else { 10 };
            let letters: Vec<char> = body.chars().collect();
            for (at, _) in letters.iter().enumerate().filter(|(_, letter)| **letter == '_') {
                let before = at.checked_sub(1).map(|b| letters[b]);
                let prefix = hex.is_some() && at == 2;
                if !prefix && !before.is_some_and(|c| c.is_digit(radix)) {
                    return None;
                }
                if !letters.get(at + 1).is_some_and(|c| c.is_digit(radix)) {
                    return None;
                }
            }
            let body = hex.unwrap_or(body).replace('_', "");
            let marker = if hex.is_some() { 'p' } else { 'e' };
            let (mantissa, exponent) = match body.split_once(marker) {
                Some((mantissa, exponent)) => (mantissa.to_owned(), Some(exponent.to_owned())),
                None => (body, None),
            };
            if hex.is_some() && exponent.is_none() {
                return None;
            }
            let points = mantissa.matches('.').count();
            let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
            if points > 1 || digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
                return None;
            }
            if let Some(exponent) = &exponent {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
                    return None;
                }
            }
            let plain = if hex.is_some() {
                let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                let exponent: i64 = exponent?.parse().ok()?;
                decimal_text(&digits, exponent - 4 * i64::try_from(fraction).ok()?)
            } else {
                exponent.map_or(mantissa.clone(), |exponent| format!("{mantissa}e{exponent}"))
            };
            let number: f64 = plain.parse().ok()?;
            number.is_finite().then_some(sign * number)
        }

        /// digits (base 16) × 2^scale, written out in decimal.
        fn decimal_text(digits: &str, scale: i64) -> String {
            // Least significant digit first.
            let mut number = vec![0_u32];
            let mut times_plus = |factor: u32, mut carry: u32| {
                for digit in &mut number {
                    let product = *digit * factor + carry;
                    (*digit, carry) = (product % 10, product / 10);
                }
                while carry > 0 {
                    number.push(carry % 10);
                    carry /= 10;
                }
            };
            for digit in digits.chars() {
                times_plus(16, digit.to_digit(16).unwrap());
            }
            for _ in 0..scale.unsigned_abs() {
                times_plus(if scale < 0 { 5 } else { 2 }, 0);
            }
            let mut text: String =
                number.iter().rev().map(|digit| char::from_digit(*digit, 10).unwrap()).collect();
            if scale < 0 {
                text.push_str(&format!("e{scale}"));
            }
            text
        }
    }

    fn same(left: Option<f64>, right: Option<f64>) -> bool {
        left.map(f64::to_bits) == right.map(f64::to_bits)
            || left.zip(right).is_some_and(|(left, right)| left.is_nan() && right.is_nan())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn agrees_with_a_naive_reader(text in "[+-]?(0[xX])?[0-9a-f_.]{0,8}([eEpP][+-]?[0-9_]{0,3})?") {
            prop_assert!(same(parse(&text), reference::parse(&text)), "{}: {:?}", text, parse(&text));
        }

        #[test]
        fn agrees_on_well_formed_hexadecimals(text in "-?0x[0-9a-f]{1,20}(\\.[0-9a-f]{0,20})?p[+-]?[0-9]{1,3}") {
            prop_assert!(same(parse(&text), reference::parse(&text)), "{}: {:?}", text, parse(&text));
        }

        #[test]
        fn agrees_where_hexadecimals_become_subnormal(text in "0x[01]\\.[0-9a-f]{0,20}p-10[0-9]{2}") {
            prop_assert!(same(parse(&text), reference::parse(&text)), "{}: {:?}", text, parse(&text));
        }

        #[test]
        fn agrees_on_well_formed_decimals(text in "[+-]?[0-9]{1,3}(_[0-9]{1,20})?(\\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?") {
            prop_assert!(same(parse(&text), reference::parse(&text)), "{}: {:?}", text, parse(&text));
        }

        #[test]
        fn reads_back_every_number_that_is_written(number in proptest::num::f64::ANY) {
            prop_assume!(!number.is_nan());
            let text = format!("{number:e}");
            prop_assert!(same(parse(&text), Some(number)), "{}", text);
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            prop_assert!(same(parse(&text), reference::parse(&text)), "{:?}", text);
        }
    }
}
