//! Words of the API as words of a page.

/// A detail of a problem document as a sentence of a page.
#[must_use]
pub fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let rest = letters.as_str();
    let end = if detail.ends_with(['.', '?', ':']) { "" } else { "." };
    format!("{first}{rest}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_becomes_a_sentence() {
        assert_eq!(sentence("there is no such server"), "There is no such server.");
        assert_eq!(sentence("Redis refused. Retry."), "Redis refused. Retry.");
        assert_eq!((sentence(""), sentence("ä")), (".".to_owned(), "Ä.".to_owned()));
    }
}
