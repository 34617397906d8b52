//! The bans of the last hours as bars, with a sentence that says the same.

use std::fmt::Write as _;

use askama::Template;
use askama::filters::HtmlSafe;

use super::marks::count;
use crate::domain::hours::{SHOWN, ShownHours};

/// The width of a bar with the gap after it.
const STEP: usize = 3;
/// The height of the highest bar.
const HEIGHT: u64 = 14;

/// Bars and a sentence. `{{ sparkline }}` in a template shows them.
#[derive(Template, Debug, Clone, PartialEq, Eq)]
#[template(path = "parts/sparkline.html")]
pub struct Sparkline {
    /// The bars, as the path of an SVG image; an hour that is not known has none.
    bars: String,
    /// The number of bans in all.
    sum: String,
    /// The rest of the sentence.
    says: String,
}

impl HtmlSafe for Sparkline {}

impl Sparkline {
    /// The bars of these hours; none if no hour is known.
    #[must_use]
    pub fn of(hours: &ShownHours) -> Option<Self> {
        let known: Vec<u64> = hours.bans.iter().copied().flatten().collect();
        let highest = known.iter().copied().max()?.max(1);
        let mut bars = String::new();
        // From where the bar before ended: a list has many of these.
        let (mut at, mut before) = (0, None);
        for (place, bans) in hours.bans.iter().enumerate() {
            let Some(bans) = *bans else { continue };
            // An hour without bans has a dot: a gap means that the number is not known.
            let high = (u128::from(bans) * u128::from(HEIGHT) / u128::from(highest)).max(1);
            let _ = match before {
                None => write!(bars, "M{} {HEIGHT}v-{high}", place * STEP + 1),
                Some(height) => write!(bars, "m{} {height}v-{high}", (place - at) * STEP),
            };
            (at, before) = (place, Some(high));
        }
        let latest = match hours.bans.last().copied().flatten() {
            Some(bans) => format!("{} of them in the current hour", count(bans)),
            None => "how many in the current hour is not known".to_owned(),
        };
        let of = match known.len() {
            SHOWN => format!("in {SHOWN} hours"),
            known => format!("in {known} of {SHOWN} hours (the others are not known)"),
        };
        let usual =
            hours.usual_bans.map_or_else(String::new, |bans| format!("; {} an hour is usual", count(bans)));
        Some(Self {
            bars,
            sum: count(known.iter().fold(0, |sum: u64, bans| sum.saturating_add(*bans))),
            says: format!("{of}, {latest}{usual}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(bans: Vec<Option<u64>>, usual: Option<u64>) -> ShownHours {
        ShownHours {
            latest: chrono::DateTime::from_timestamp(0, 0).unwrap(),
            failures: vec![None; bans.len()],
            bans,
            usual_bans: usual,
            usual_failures: None,
        }
    }

    #[test]
    fn an_hour_that_is_not_known_has_no_bar_and_one_without_bans_a_low_one() {
        let line = Sparkline::of(&hours(vec![None, Some(0), Some(1_400), Some(700)], Some(700))).unwrap();
        assert_eq!(line.bars, "M4 14v-1m3 1v-14m3 14v-7");
        assert_eq!(line.sum, "2,100");
        assert_eq!(
            line.says,
            "in 3 of 24 hours (the others are not known), 700 of them in the current hour; 700 an hour is usual"
        );
        let full = Sparkline::of(&hours(vec![Some(0); 24], Some(0))).unwrap();
        assert_eq!(full.says, "in 24 hours, 0 of them in the current hour; 0 an hour is usual");
        assert_eq!(Sparkline::of(&hours(vec![None; 24], None)), None);
    }
}
