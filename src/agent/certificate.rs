//! When a certificate expires: rustls checks that date but does not expose it.
//!
//! ```text
//! Certificate ::= SEQUENCE { TBSCertificate ::= SEQUENCE {
//!     [0] version OPTIONAL, INTEGER serial, SEQUENCE signature, SEQUENCE issuer, SEQUENCE validity { Time, Time }, ... } ... }
//! ```
//!
//! RFC 5280, 4.1. Time is `YYMMDDHHMMSSZ` (tag 23, of 1950 to 2049) or `YYYYMMDDHHMMSSZ` (tag 24).

use chrono::{NaiveDate, NaiveDateTime};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate (DER) expires, in seconds since 1970; none if it cannot be read.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (tag, certificate, _) = element(der)?;
    let (inner, tbs, _) = element(certificate)?;
    if (tag, inner) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    let (first, _, after_version) = element(tbs)?;
    let mut rest = if first == VERSION { after_version } else { tbs };
    for _ in ["serial", "signature", "issuer"] {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, text, _) = element(element(validity)?.2)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// Tag and content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let count = usize::from(short & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

fn time(tag: u8, text: &str) -> Option<i64> {
    let digits =
        text.strip_suffix('Z').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<u32>().ok();
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => (number(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |n: usize| number(rest + 2 * n, rest + 2 * n + 2);
    let day = NaiveDate::from_ymd_opt(year.cast_signed(), part(0)?, part(1)?)?;
    let time: NaiveDateTime = day.and_hms_opt(part(2)?, part(3)?, part(4)?)?;
    Some(time.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["web-1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 3, 4);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_a_time() {
        for year in [1999, 2031, 2049, 2050, 4096] {
            let expected = NaiveDate::from_ymd_opt(year, 3, 4).unwrap().and_hms_opt(0, 0, 0).unwrap();
            assert_eq!(not_after(&certificate(year)), Some(expected.and_utc().timestamp()), "{year}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_or_changed_anywhere_never_panics() {
        let whole = certificate(2031);
        for end in 0..whole.len().min(400) {
            assert!(not_after(&whole[..end]).is_none(), "{end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            let _ = not_after(&changed);
        }
    }
}
